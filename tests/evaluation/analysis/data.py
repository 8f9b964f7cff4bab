"""Published data that several tests use, each with its source."""

import numpy as np

NaN = float("nan")

# Shrout & Fleiss, Psychological Bulletin 86 (1979), table 2: four judges (columns) rate six targets (rows).
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])

# Hollander & Wolfe, Nonparametric Statistical Methods (1973), p. 140, as in the documentation of R's friedman.test: 22
# players (rows) round first base in three ways (columns); seconds times 20, which are whole numbers.
ROUNDING_TIMES = np.array(
    [
        [5.40, 5.50, 5.55],
        [5.85, 5.70, 5.75],
        [5.20, 5.60, 5.50],
        [5.55, 5.50, 5.40],
        [5.90, 5.85, 5.70],
        [5.45, 5.55, 5.60],
        [5.40, 5.40, 5.35],
        [5.45, 5.50, 5.35],
        [5.25, 5.15, 5.00],
        [5.85, 5.80, 5.70],
        [5.25, 5.20, 5.10],
        [5.65, 5.55, 5.45],
        [5.60, 5.35, 5.45],
        [5.05, 5.00, 4.95],
        [5.50, 5.50, 5.40],
        [5.45, 5.55, 5.50],
        [5.55, 5.55, 5.35],
        [5.45, 5.50, 5.55],
        [5.50, 5.45, 5.25],
        [5.65, 5.60, 5.40],
        [5.70, 5.65, 5.55],
        [6.30, 6.30, 6.25],
    ]
)

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers, twelve units.
KRIPPENDORFF_2011 = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NaN, NaN, NaN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NaN, 3],
        [NaN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NaN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NaN],
    ]
)

# Darwin's maize: cross-fertilised minus self-fertilised, in eighths of an inch. Fisher, The Design of Experiments,
# section 17.
DARWIN = np.array([6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75])

# Davies & Goldsmith, Statistical Methods in Research and Production (1972), section 6.6, as `Penicillin` in lme4:
# diameters (mm) on 24 plates (rows) of six samples (columns).
PENICILLIN = np.array(
    [
        [27, 23, 26, 23, 23, 21],
        [27, 23, 26, 23, 23, 21],
        [25, 21, 25, 24, 24, 20],
        [26, 23, 25, 23, 23, 20],
        [25, 22, 26, 22, 23, 20],
        [24, 22, 25, 23, 22, 19],
        [24, 20, 23, 21, 22, 19],
        [26, 22, 26, 24, 24, 21],
        [24, 21, 24, 22, 22, 20],
        [24, 21, 24, 23, 22, 19],
        [26, 23, 26, 24, 24, 21],
        [25, 22, 26, 24, 24, 20],
        [26, 24, 26, 24, 25, 22],
        [26, 23, 26, 23, 23, 20],
        [26, 23, 25, 24, 24, 22],
        [25, 22, 25, 23, 23, 20],
        [25, 21, 24, 23, 23, 20],
        [25, 22, 24, 23, 23, 19],
        [24, 21, 23, 21, 21, 19],
        [26, 23, 26, 24, 24, 21],
        [25, 21, 24, 22, 22, 18],
        [25, 22, 25, 22, 22, 20],
        [24, 21, 24, 22, 24, 19],
        [24, 21, 24, 22, 21, 18],
    ]
)

# Milliken & Johnson, Analysis of Messy Data (1992), p. 285, as `Machines` in nlme: productivity scores of three
# machines (first axis), six workers (second), each three times (third).
MACHINES = np.array(
    [
        [
            [52.0, 52.8, 53.1],
            [51.8, 52.8, 53.1],
            [60.0, 60.2, 58.4],
            [51.1, 52.3, 50.3],
            [50.9, 51.8, 51.4],
            [46.4, 44.8, 49.2],
        ],
        [
            [62.1, 62.6, 64.0],
            [59.7, 60.0, 59.0],
            [68.6, 65.8, 69.7],
            [63.2, 62.8, 62.2],
            [64.8, 65.0, 65.4],
            [43.7, 44.2, 43.0],
        ],
        [
            [67.5, 67.2, 66.9],
            [61.5, 61.7, 62.3],
            [70.8, 70.6, 71.0],
            [64.1, 66.2, 64.0],
            [72.1, 72.0, 71.1],
            [62.0, 61.4, 60.5],
        ],
    ]
)

# Randall (1989), bitterness of wine in levels 1 to 5, as `wine` in R's package ordinal: nine judges (rows) rate eight
# bottles: cold without contact twice, cold with contact twice, warm without twice, warm with twice.
WINE = np.array(
    [
        [2, 3, 3, 4, 4, 4, 5, 5],
        [1, 2, 1, 3, 2, 3, 5, 4],
        [2, 3, 3, 2, 5, 5, 4, 4],
        [3, 2, 3, 2, 3, 2, 5, 3],
        [2, 3, 4, 3, 3, 3, 3, 3],
        [3, 2, 3, 2, 2, 4, 5, 4],
        [1, 1, 2, 2, 2, 3, 2, 3],
        [2, 2, 2, 3, 3, 3, 3, 4],
        [1, 2, 3, 2, 3, 2, 4, 4],
    ]
)
