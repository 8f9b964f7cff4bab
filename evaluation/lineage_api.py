"""How the API tells where an output came from."""

from rest_framework import serializers

from annotation.models import Annotation
from evaluation.models import System
from training.models import Dataset, DatasetRow, Run


class LineageSystemSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username")

    class Meta:
        model = System
        fields = ["id", "name", "kind", "base_model", "is_scratch", "created_by"]
        read_only_fields = fields


class LineageRunSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username")

    class Meta:
        model = Run
        fields = ["id", "name", "status", "base_model", "base_revision", "seed", "done", "created_by", "created_at"]
        read_only_fields = fields


class LineagePartSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()


class LineagePromptSerializer(LineagePartSerializer):
    version = serializers.IntegerField()


class LineageDatasetSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username")
    counts = serializers.DictField(child=serializers.IntegerField())

    class Meta:
        model = Dataset
        fields = ["id", "name", "content_hash", "counts", "created_by", "created_at"]
        read_only_fields = fields


class LineageRowSerializer(serializers.ModelSerializer):
    labels = serializers.DictField(child=serializers.CharField())

    class Meta:
        model = DatasetRow
        fields = [
            "id",
            "pair",
            "preference",
            "item",
            "external_id",
            "split",
            "position",
            "text",
            "rewrite",
            "rejected",
            "labels",
        ]
        read_only_fields = fields


class LineageAnnotationSerializer(serializers.ModelSerializer):
    annotator = serializers.CharField(source="annotator.username")
    labels = serializers.DictField(child=serializers.CharField())

    class Meta:
        model = Annotation
        fields = ["id", "annotator", "labels", "revision", "created_at", "updated_at"]
        read_only_fields = fields


class LineageStepSerializer(serializers.Serializer):
    user = serializers.CharField(source="user.username")
    what = serializers.CharField()


class LineagePreferenceSerializer(serializers.Serializer):
    id = serializers.IntegerField(source="preference.pk")
    study = serializers.IntegerField()
    chosen = serializers.BooleanField(help_text="Whether this output was the preferred one.")
    other = serializers.IntegerField(help_text="The other output.")
    votes = serializers.IntegerField(source="preference.votes")
    voters = serializers.IntegerField(source="preference.voters")


class LineageSerializer(serializers.Serializer):
    """Where an output came from. What does not apply, or is not known, is null or empty."""

    output = serializers.IntegerField(source="output.pk")
    item = serializers.IntegerField(source="output.item_id")
    system = LineageSystemSerializer(source="output.system")
    run = LineageRunSerializer(allow_null=True)
    recipe = LineagePartSerializer(allow_null=True)
    prompt = LineagePromptSerializer(allow_null=True)
    dataset = LineageDatasetSerializer(allow_null=True, help_text="Null unless the system is a run's model.")
    withdrawn = serializers.DictField(
        child=serializers.IntegerField(), help_text="Per split, the dataset's pairs that are not approved any more."
    )
    seen = serializers.CharField(
        help_text="How the model had met the text: train, validation, test, absent, example (in its prompt) or unknown."
    )
    contaminated = serializers.BooleanField(help_text="It was trained on the text, or its prompt shows it.")
    row = LineageRowSerializer(allow_null=True)
    same_text = serializers.BooleanField(help_text="The row is of another item with the same text.")
    pair_withdrawn = serializers.BooleanField()
    pair_changed = serializers.BooleanField(help_text="The pair reads otherwise now than in the dataset.")
    annotations = LineageAnnotationSerializer(many=True, help_text="What the pair was made from, as it was frozen.")
    people = LineageStepSerializer(many=True)
    preferences = LineagePreferenceSerializer(
        source="became", many=True, help_text="What closed studies made of this output, for training."
    )
