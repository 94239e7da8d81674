"""What an assessment does, and what inputs and outputs are."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field, model_validator

from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.specification import Specification
from robmon.settings.sections.section import Section
from robmon.settings.values import (
    Levels,
    Noises,
    Numbers,
    PositiveFloat,
    PositiveInt,
    PositiveSeconds,
    Share,
    Subsampling,
    Words,
    noise_of,
)
from robmon.vocabulary import DISTANCES, NOISE_NAMES, TASKS, Distance, ImageChannels, NoiseName, OutputKind, Task


class AssessSettings(Section):
    interval_seconds: PositiveSeconds = Field(60, description="Seconds between two assessments")
    min_rows: Annotated[int, Field(ge=2)] = Field(64, description="Fewest rows to assess")
    max_seconds: PositiveSeconds = Field(10, description="Time budget of one assessment, in seconds")
    noise: NoiseName = Field(NOISE_NAMES[0], description="Noise model")
    levels: Levels = Field(
        Specification.levels,
        description="Noise levels, in standard deviations of a feature, or shares; noise that counts otherwise (jpeg, "
        "rotate, gaussian_blur) has defaults of its own",
    )
    noises: Noises = Field(
        (),
        description="Further noises, each as name or name@level,level; they take turns, one per assessment, in what is "
        "left of its time budget; only assess.noise decides alarms",
    )
    trials: PositiveInt = Field(Specification.trials, description="Independent trials of the noise at each level")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(
        Specification.confidence, description="Stated probability of the bounds"
    )
    task: Task = Field(TASKS[0], description="What the model does")
    output: OutputKind | None = Field(
        None, description="What the model's outputs are; unset: deduced from their type and the task"
    )
    integers: Words = Field(
        (),
        description="Integer columns that are measurements, by name, or all: they are perturbed and rounded, others "
        "are not",
    )
    scale_axis: int | None = Field(
        None,
        description="Axis of the inputs each of whose entries has its own scale (0 is the rows, -1 the last); unset: "
        "by rank and first layer",
    )
    max_batch_rows: PositiveInt | None = Field(
        None,
        description="Most rows given to the model at a time: 1 where it takes no more, or as many as production sends "
        "where they depend on each other; unset: as is fast",
    )
    mse_limit: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Largest acceptable bound of the MSE; when set, the noise margin is published"
    )
    agreement_limit: Share | None = Field(
        None,
        description="Smallest acceptable share of unchanged classes; when set, page and history say beyond which level "
        "it is no longer kept, with an interval over rows",
    )
    accuracy_limit: Share | None = Field(
        None, description="Smallest acceptable share of correct classes, likewise, over the requests that have a label"
    )

    @model_validator(mode="after")
    def _can_be_done(self) -> AssessSettings:
        self.specification()
        if any(each.noise == self.noise for each in self.further()):
            raise ValueError(f"noises are further ones, and {self.noise} is assess.noise: give its levels as levels")
        return self

    def specification(
        self,
        output_column: str | None = None,
        layout: ImageLayout | None = None,
        embedding: EmbeddingSettings | None = None,
    ) -> Specification:
        """What an assessment does by these settings.

        Raises:
            InvalidInputError: they do not go together.
        """
        return Specification(
            noise=self.noise,
            levels=self.levels,
            trials=self.trials,
            confidence=self.confidence,
            task=self.task,
            output=self.output,
            output_column=output_column,
            integers=self.integers,
            scale_axis=self.scale_axis,
            max_batch_rows=self.max_batch_rows,
            layout=layout,
            mse_limit=self.mse_limit,
            agreement_limit=self.agreement_limit,
            accuracy_limit=self.accuracy_limit,
            **({} if embedding is None else embedding.model_dump()),
        )

    def further(self, output_column: str | None = None, layout: ImageLayout | None = None) -> tuple[Specification, ...]:
        """The same with each of the further noises, in their order; the owner's limits are those of `noise` alone."""
        first = replace(
            self.specification(output_column, layout), mse_limit=None, agreement_limit=None, accuracy_limit=None
        )
        named = map(noise_of, self.noises)
        return tuple(replace(first, noise=each.noise, levels=each.levels, trials=self.trials) for each in named)

    @property
    def fewest_predictions(self) -> int:
        """Rows that the smallest assessment asks the model for: each twice without noise, and in all its trials."""
        specification = self.specification()
        return self.min_rows * (2 + specification.needed_trials * specification.noisy_levels)


class EmbeddingSettings(Section):
    distance: Distance = Field(
        DISTANCES[0],
        description="Distance between embeddings: length of their difference, or 1 minus the cosine of their angle",
    )
    threshold: PositiveFloat | None = Field(
        None,
        description="Distance beyond which two embeddings no longer count as the same thing; unset: the one below "
        "which a share false_match_rate of all pairs of different rows of the baseline lies",
    )
    false_match_rate: Annotated[float, Field(gt=0, lt=1)] = Field(
        Specification.false_match_rate,
        description="Share of pairs of different rows that may count as the same thing",
    )


class ImagesSettings(Section):
    channels: ImageChannels | None = Field(
        None,
        description="Which axis of images (inputs of rank 4) holds the channels, first or last; unset: by the shape",
    )
    range: Numbers | None = Field(
        None,
        description="Values of black and white in images, such as 0 1; unset: 0 255 for uint8; never guessed from the "
        "data",
    )
    mean: Numbers | None = Field(
        None, description="What clients subtract where they normalise images before the request, one number per channel"
    )
    std: Numbers | None = Field(None, description="What they divide by, likewise")
    jpeg_subsampling: Subsampling = Field(ImageLayout.jpeg_subsampling, description="Colour subsampling of jpeg noise")

    @model_validator(mode="after")
    def _is_a_layout(self) -> ImagesSettings:
        self.layout  # noqa: B018
        return self

    @property
    def layout(self) -> ImageLayout | None:
        """How inputs are pictures; None where nothing is said.

        Raises:
            InvalidInputError: they cannot be so.
        """
        said = self.model_dump()
        return None if said == type(self).model_construct().model_dump() else ImageLayout(**said)
