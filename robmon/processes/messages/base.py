"""What all messages are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetPydanticSchema, PlainSerializer, PlainValidator

from robmon.robustness.specification import Specification


def _failing_fast(schema: Any) -> Any:
    """The schema, in which each list ends at the first item that is wrong."""
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if each.get("type") == "list":
                each["fail_fast"] = True
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += each
    return schema


class Message(BaseModel):
    """Base of all messages: unknown fields are refused, infinities and NaN are kept."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> Any:
        """The first item of a list that is wrong is enough: to note each of millions takes gigabytes."""
        return _failing_fast(handler(source))


def _specification(content: Any) -> Specification:
    return content if isinstance(content, Specification) else Specification.from_dict(content)


_Plain = Annotated[Any, PlainValidator(_specification), PlainSerializer(Specification.to_dict)]
SpecificationField = Annotated[Specification, GetPydanticSchema(lambda _source, handler: handler(_Plain))]
