"""How a blind study is laid out: which texts, who sees which outputs together, in which order, and in which form.

Pure functions over numbers and texts; nothing here knows about Django or the database. Everything that is drawn is
drawn from the generator that is handed in, so the same seed gives the same study.
"""
