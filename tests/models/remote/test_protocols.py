"""The same rows, sent in every protocol: what arrives, and what comes back, to the last bit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from robmon.errors import InvalidInputError, ModelLoadError, ModelNotFoundError, PredictionError, VersionChangedError
from robmon.inputs.codecs import Row, decode
from robmon.models.access import EndpointAccess
from robmon.models.remote import served_versions
from robmon.models.uri import parse_endpoint
from tests.endpoint import Arrays, Reply, Request, V2Model, reply_json, serving
from tests.models.remote.conftest import connect, outputs

NUMBERS = np.random.default_rng(5).normal(size=(40, 3))
MATRIX = [("x", "FP64", [-1, 3])]


def summed(arrays: Arrays) -> Arrays:
    (x,) = arrays.values()
    return {"y": x.sum(axis=1)}


def tensors(dtype: str = "float64") -> list[Row]:
    return [Row(columns={"x": row}) for row in NUMBERS.astype(dtype)]


# --- V2 --------------------------------------------------------------------------------------------------------------


HALF, SINGLE, DOUBLE = ("FP16", "float16"), ("FP32", "float32"), ("FP64", "float64")


@pytest.mark.parametrize(
    ("dialect", "type_"),
    [
        *(("kserve", type_) for type_ in (HALF, SINGLE, DOUBLE)),
        *(("mlserver", type_) for type_ in (SINGLE, DOUBLE)),  # it has no form in which half precision travels
        *(("triton", type_) for type_ in (HALF, SINGLE, DOUBLE)),
    ],
)
def test_v2_to_the_last_bit(dialect: str, type_: tuple[str, str]) -> None:
    datatype, dtype = type_
    with serving(V2Model(lambda arrays: arrays, dialect, [("x", datatype, [-1, 3])], "1")) as server:
        answered = outputs(connect(f"{server.url}/v2/models/digits/infer"), tensors(dtype))
    assert answered.dtype == dtype
    assert np.array_equal(answered, NUMBERS.astype(dtype))
    is_binary = "inference-header-content-length" in server.posts[0].headers
    assert is_binary == (dialect == "triton" or datatype == "FP16")


@pytest.mark.parametrize("dialect", ["kserve", "mlserver", "triton"])
def test_v2_passes_through_what_is_not_perturbed(dialect: str) -> None:
    seen: list[Arrays] = []

    def predict(arrays: Arrays) -> Arrays:
        seen.append(arrays)
        return {"class": np.array([f"{kind}-ä" for kind in arrays["kind"].reshape(-1)], dtype=object)}

    inputs = [("size", "FP32", [-1]), ("count", "INT16", [-1]), ("kind", "BYTES", [-1]), ("new", "BOOL", [-1])]
    rows = [
        Row(columns={"size": np.float32(0.1 * i), "count": np.int16(i), "kind": f"k{i}", "new": np.bool_(i % 2)})
        for i in range(5)
    ]
    with serving(V2Model(predict, dialect, inputs, "1")) as server:
        answered = outputs(connect(f"{server.url}/v2/models/digits/infer"), rows)
    assert answered.tolist() == [f"k{i}-ä" for i in range(5)]
    (arrays,) = seen
    assert {name: array.dtype.str for name, array in arrays.items()} == {
        "size": "<f4", "count": "<i2", "kind": "|O", "new": "|b1"
    }  # fmt: skip
    assert arrays["kind"].tolist() == [f"k{i}" for i in range(5)]
    assert arrays["count"].tolist() == [0, 1, 2, 3, 4]


def test_v2_several_columns_are_told_to_be_a_table_where_the_server_tells_no_inputs() -> None:
    rows = [Row(columns={"a": np.array([1.5]), "b": np.array([i])}) for i in range(3)]
    with serving(V2Model(lambda arrays: {"y": arrays["a"]}, "kserve", [])) as server:
        outputs(connect(f"{server.url}/v2/models/digits/infer"), rows)
    content = json.loads(server.posts[0].body)
    assert content["parameters"] == {"content_type": "pd"}
    assert [(each["name"], each["shape"]) for each in content["inputs"]] == [("a", [3, 1]), ("b", [3, 1])]


def test_v2_outputs_stand_side_by_side() -> None:
    predict = lambda arrays: {"mean": arrays["x"].mean(axis=1), "all": arrays["x"]}  # noqa: E731
    with serving(V2Model(predict, "triton", MATRIX, "1")) as server:
        answered = outputs(connect(f"{server.url}/v2/models/digits/infer"), tensors())
    assert np.array_equal(answered, np.column_stack([NUMBERS.mean(axis=1), NUMBERS]))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("dialect", ["mlserver", "triton"])
def test_v2_models_of_a_fixed_number_of_rows_are_asked_for_just_so_many(rows: int, dialect: str) -> None:
    """Metadata `[1, 3, 8, 8]`, as of a model that was exported for one row; the server takes nothing else."""
    images = np.random.default_rng(0).normal(size=(10, 3, 8, 8)).astype(np.float32)

    def predict(arrays: Arrays) -> Arrays:
        assert arrays["image"].shape == (rows, 3, 8, 8)
        return {"y": arrays["image"].mean(axis=(1, 2, 3))}

    with serving(V2Model(predict, dialect, [("image", "FP32", [rows, 3, 8, 8])], "1")) as server:
        model = connect(f"{server.url}/v2/models/digits/infer", batch_rows=2)
        answered = outputs(model, [Row(tensor=image) for image in images])
    np.testing.assert_allclose(answered, images.mean(axis=(1, 2, 3)), rtol=1e-5)
    assert len(server.posts) == (10 if rows == 1 else 4)


@pytest.mark.parametrize(("dialect", "told"), [("kserve", []), ("mlserver", []), ("triton", ["3"])])
def test_v2_versions(dialect: str, told: list[str]) -> None:
    access = EndpointAccess()
    with serving(V2Model(summed, dialect, MATRIX, "3")) as server:
        assert served_versions(parse_endpoint(f"{server.url}/v2/models/digits/infer"), access) == told
        with pytest.raises(ModelNotFoundError, match="serves no model letters"):
            served_versions(parse_endpoint(f"{server.url}/v2/models/letters/infer"), access)
        with pytest.raises((ModelNotFoundError, PredictionError), match=r"serves no version 2 of|answered 501"):
            served_versions(parse_endpoint(f"{server.url}/v2/models/digits/versions/2/infer"), access)


def test_v2_highest_version_comes_last() -> None:
    metadata = {"name": "digits", "versions": ["10", "9", "beta", "2"], "inputs": []}
    with serving(lambda request: reply_json(metadata)) as server:
        versions = served_versions(parse_endpoint(f"{server.url}/v2/models/digits/infer"), EndpointAccess())
    assert versions == ["beta", "2", "9", "10"]


def test_v2_answers_of_another_version_are_refused() -> None:
    model = V2Model(summed, "triton", MATRIX, "3")
    with serving(model) as server:
        url = f"{server.url}/v2/models/digits/infer"
        asked = connect(url, version="3")
        first_seen = connect(url)
        assert outputs(asked, tensors()).shape == outputs(first_seen, tensors()).shape == (40,)
        model.version = "4"
        for served in (asked, first_seen):
            with pytest.raises(VersionChangedError, match="answered as version 4, not 3") as caught:
                outputs(served, tensors())
            assert (caught.value.reason, caught.value.served_version) == ("version_changed", "4")


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ([("x", "FP32", [4, 3]), ("y", "FP32", [1, 3])], "no common number of rows"),
        ([("x", "FP32", [])], "no common number of rows"),
        ([("x", "INT64", [-1, 3])], "nothing can be perturbed"),
        ([("x", "BF16", [-1, 3])], "inputs of type BF16 are not supported"),
        ([("x", ["FP32"], [-1, 3])], "inputs of type .'FP32'. are not supported"),
    ],
)
def test_v2_models_that_cannot_be_assessed(inputs: Any, sentence: str) -> None:
    with (
        serving(V2Model(summed, "triton", inputs, "1")) as server,
        pytest.raises(ModelLoadError, match=sentence),
    ):
        connect(f"{server.url}/v2/models/digits/infer")


@pytest.mark.parametrize("metadata", [[], {"inputs": [{"name": "x"}]}, {"inputs": 3}, {"versions": 1}, "x"])
def test_v2_metadata_that_is_none(metadata: Any) -> None:
    with (
        serving(lambda request: reply_json(metadata)) as server,
        pytest.raises(ModelLoadError, match="not V2 metadata"),
    ):
        connect(f"{server.url}/v2/models/digits/infer")


def float_output(**changes: Any) -> dict[str, Any]:
    return {"outputs": [{"name": "y", "datatype": "FP32", "shape": [40], "data": [0.5] * 40} | changes]}


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"outputs": 1},
        {"outputs": [[]]},
        {"outputs": []},
        float_output(datatype="FP8"),
        float_output(shape=[39]),
        float_output(shape=[-1, 1]),
        float_output(shape=["40"] * 2),
        float_output(shape=[10**9, 10**9]),
        float_output(shape=[2**63]),
        float_output(shape=[1] * 65),
        float_output(data=["text"] * 40),
        float_output(data={}),
        float_output(datatype="BYTES", data=None),
        float_output(parameters={"binary_data_size": 160}),
        float_output(parameters={"binary_data_size": "160"}),
        float_output(parameters={"binary_data_size": -1}),
        float_output(datatype="BYTES", parameters={"binary_data_size": 160}),
        float_output(name=None, shape=None),
    ],
)
def test_v2_answers_that_are_none(content: Any) -> None:
    model = V2Model(summed, "triton", MATRIX, "1")
    with serving(model) as server:
        asked = connect(f"{server.url}/v2/models/digits/infer")
        server.answer = lambda request: reply_json(content)
        with pytest.raises(PredictionError) as caught:
            outputs(asked, tensors())
    assert caught.value.reason == "invalid_output"


def test_v2_numbers_that_are_not_finite_are_outputs() -> None:
    three = np.array([np.nan, np.inf, -np.inf])
    with serving(V2Model(lambda arrays: {"y": three[: len(arrays["x"])]}, "mlserver", MATRIX, "1")) as server:
        answered = outputs(connect(f"{server.url}/v2/models/digits/infer"), tensors()[:3])
    assert np.array_equal(answered, three, equal_nan=True)


# --- V1 and MLflow, whose answers are alike --------------------------------------------------------------------------


def answering(predictions: Any) -> Any:
    return lambda request: reply_json({"predictions": predictions})


def test_v1_instances_are_rows_as_they_came() -> None:
    with serving(answering([1, 2])) as server:
        model = connect(f"{server.url}/v1/models/digits:predict")
        named = [
            Row(columns={"a": np.array([0.1]), "b": 7, "c": "x"}),
            Row(columns={"c": "y", "b": 8, "a": np.array([2.0])}),
        ]
        assert outputs(model, named).tolist() == [1, 2]
        assert outputs(model, [Row(tensor=np.array([0.1, 2])), Row(tensor=np.array([3, 4]))]).tolist() == [1, 2]
    first, second = (json.loads(request.body) for request in server.posts)
    assert first == {"instances": [{"a": [0.1], "b": 7, "c": "x"}, {"a": [2.0], "b": 8, "c": "y"}]}
    assert second == {"instances": [[0.1, 2.0], [3.0, 4.0]]}


def test_mlflow_tables_and_tensors() -> None:
    with serving(answering([0.5, 0.25])) as server:
        model = connect(f"{server.url}/invocations")
        outputs(model, [Row(columns={"a": 0.1, "b": None, "n": None}), Row(columns={"a": 2, "b": 0.3, "n": 4})])
        outputs(model, [Row(columns={"a": np.ones((2, 2))}), Row(columns={"a": np.zeros((2, 2))})])
    table, tensor = (json.loads(request.body) for request in server.posts)
    assert table == {"dataframe_split": {"columns": ["a", "b", "n"], "data": [[0.1, None, None], [2.0, 0.3, 4]]}}
    assert tensor == {"inputs": {"a": [[[1, 1], [1, 1]], [[0, 0], [0, 0]]]}}


@pytest.mark.parametrize(
    ("predictions", "told"),
    [
        ([0.5, 1.5], [0.5, 1.5]),
        ([1, 0], [1, 0]),
        (["cat", "dog"], ["cat", "dog"]),
        ([[0.25, 0.75], [1.0, 0.0]], [[0.25, 0.75], [1.0, 0.0]]),
        ([{"0": 1.0}, {"0": 2.0}], [1.0, 2.0]),
        ([{"mean": 1.0, "spread": 2.0}, {"mean": 3.0, "spread": 4.0}], [[1.0, 2.0], [3.0, 4.0]]),
        ({"mean": [1.0, 2.0], "all": [[3.0], [4.0]]}, [[1.0, 3.0], [2.0, 4.0]]),
        ([True, False], [1, 0]),
    ],
)
def test_predictions(predictions: Any, told: Any) -> None:
    with serving(answering(predictions)) as server:
        answered = outputs(connect(f"{server.url}/invocations"), [Row(tensor=np.array([0.5]))] * 2)
    assert answered.tolist() == told


@pytest.mark.parametrize(
    "predictions",
    [[1.0], [1.0, 2.0, 3.0], 1.0, None, [[1.0], [1.0, 2.0]], [{"a": 1.0}, {"b": 1.0}], [{"a": 1.0}, 2.0], []],
)
def test_predictions_that_are_none(predictions: Any) -> None:
    with serving(answering(predictions)) as server, pytest.raises(PredictionError) as caught:
        outputs(connect(f"{server.url}/invocations"), [Row(tensor=np.array([0.5]))] * 2)
    assert caught.value.reason == "invalid_output"


def test_bare_words_and_null_are_outputs_that_are_not_finite() -> None:
    with serving(lambda request: Reply(body=b'{"predictions": [NaN, Infinity, null]}')) as server:
        answered = outputs(connect(f"{server.url}/invocations"), [Row(tensor=np.array([0.5]))] * 3)
    assert np.array_equal(answered, [np.nan, np.inf, np.nan], equal_nan=True)


# --- batches ---------------------------------------------------------------------------------------------------------


def test_rows_travel_in_small_requests() -> None:
    def answer(request: Request) -> Reply:
        return reply_json({"predictions": [sum(row) for row in json.loads(request.body)["inputs"]]})

    with serving(answer) as server:
        answered = outputs(connect(f"{server.url}/invocations", batch_rows=16), [Row(tensor=row) for row in NUMBERS])
    assert np.array_equal(answered, [sum(row) for row in NUMBERS.tolist()])
    assert [len(json.loads(request.body)["inputs"]) for request in server.posts] == [14, 13, 13]


def test_answers_that_differ_from_one_another() -> None:
    replies = iter([[[1.0]] * 2, [[1.0, 2.0]] * 2])
    with (
        serving(lambda request: reply_json({"predictions": next(replies)})) as server,
        pytest.raises(PredictionError, match="differ in shape"),
    ):
        outputs(connect(f"{server.url}/invocations", batch_rows=2), [Row(tensor=np.array([0.5]))] * 4)


# --- rows of a model that tells no signature -------------------------------------------------------------------------


def test_what_most_rows_look_like_is_what_the_model_takes() -> None:
    with serving(answering([])) as server:
        model = connect(f"{server.url}/invocations")
    rows = [Row(columns={"odd": 1.0})] + [Row(columns={"a": 0.5 + i, "k": "x", "v": np.ones(2)}) for i in range(4)]
    rows += [
        Row(columns={"a": 0.5, "k": "x"}),
        Row(columns={"a": "text", "k": "x", "v": np.ones(2)}),
        Row(columns={"a": 1, "k": "x", "v": np.ones(3)}),
        Row(tensor=np.ones(3)),
    ]
    inputs, kept, rejected = model.collect(rows)
    assert kept == [1, 2, 3, 4]
    assert rejected == {"missing_column": 2, "unnamed_row": 1, "wrong_type a": 1, "other_shape v": 1}
    assert inputs is not None and inputs.array.shape == (4, 3)
    assert inputs.feature_names == ("a", "v[0]", "v[1]")


def v1(*instances: Any) -> list[Row]:
    return [*decode("v1", {"content-type": "application/json"}, json.dumps({"instances": instances}).encode())]


NAMED = [{"b": 0.5, "n": 3, "a": 1.5}, {"b": 1.0, "n": 4, "a": 2}, {"b": 2.5, "n": None, "a": 3.5}]


def test_unnamed_rows_get_the_names_of_the_others() -> None:
    with serving(answering([1.0] * 5)) as server:
        outputs(connect(f"{server.url}/v1/models/digits:predict"), [*v1(*NAMED), *v1([7.5, 8, 9]), *v1([1, 2, 3])])
    sent = json.loads(server.posts[0].body)["instances"]
    assert sent == [*NAMED, {"b": 7.5, "n": 8, "a": 9.0}, {"b": 1.0, "n": 2, "a": 3.0}]
    assert type(sent[3]["n"]) is int, "a whole number beside a fraction is one still, and not perturbed"


@pytest.mark.parametrize(
    ("named", "unnamed"),
    [
        ([*NAMED, {"a": 1.0, "b": 2.0, "n": 3}], [7.5, 8, 9]),  # in another order: which cell is which?
        (NAMED, [7.5, 8]),
        (NAMED, [7.5, 8, 9, 10]),
        (NAMED, [[7.5], [8], [9]]),
        ([{"a": [0.5, 1.5], "b": 1.0}] * 3, [7.5, 8]),
    ],
)
def test_unnamed_rows_whose_names_cannot_be_known_are_left_out(named: list[Any], unnamed: list[Any]) -> None:
    with serving(answering([])) as server:
        model = connect(f"{server.url}/v1/models/digits:predict")
    _, kept, rejected = model.collect([*v1(*named), *v1(unnamed)])
    assert kept == list(range(len(named))) and rejected == {"unnamed_row": 1}


COLUMNS = ["a", "k", "b"]
TABLE = [[0.5 + i, i, 2.5 * i] for i in range(12)]
JSON = {"content-type": "application/json"}


def frame(rows: list[list[Any]]) -> list[Row]:
    return [*decode("mlflow", JSON, json.dumps({"dataframe_split": {"columns": COLUMNS, "data": rows}}).encode())]


def v2(**tensors: NDArray[Any]) -> list[Row]:
    types = {"f": "FP64", "i": "INT64"}
    inputs = [
        {"name": name, "datatype": types[array.dtype.kind], "shape": array.shape, "data": array.tolist()}
        for name, array in tensors.items()
    ]
    return [*decode("v2", JSON, json.dumps({"inputs": inputs}).encode())]


def columns(shape: tuple[int, ...], *, order: list[str] = COLUMNS) -> dict[str, NDArray[Any]]:
    """Three rows, a tensor a column."""
    arrays = {"a": np.array([7.5, 8.5, 9.5]), "k": np.array([7, 8, 9]), "b": np.array([1.5, 2.5, 3.5])}
    return {name: arrays[name].reshape(shape) for name in order}


OTHERS = [[7.5, 7, 1.5], [8.5, 8, 2.5], [9.5, 9, 3.5]]


def asked_about(path: str, rows: list[Row]) -> Any:
    """The JSON that a server without a signature is asked, once all rows were taken."""
    with serving(V2Model(lambda arrays: {"y": np.ones(len(rows))}, "kserve", [])) as server:
        v2_model = server.answer
        server.answer = lambda r: v2_model(r) if "v2" in r.path else reply_json({"predictions": [1.0] * len(rows)})
        outputs(connect(server.url + path), rows)
    return json.loads(server.posts[0].body)


@pytest.mark.parametrize("shape", [(3, 1), (3,)])
def test_a_tensor_with_one_cell_a_row_is_a_column_where_the_others_have_single_cells(shape: tuple[int, ...]) -> None:
    rows = [*v2(**columns(shape)), *frame(TABLE), *v1([7.5, 8, 9]), *v2(**columns(shape))]
    sent = asked_about("/invocations", rows)["dataframe_split"]
    assert sent == {"columns": COLUMNS, "data": [*OTHERS, *TABLE, [7.5, 8, 9.0], *OTHERS]}
    assert type(sent["data"][-1][1]) is int


def test_single_cells_are_listed_where_most_columns_are() -> None:
    rows = [*frame(TABLE[:2]), *v2(**columns((3, 1))), *v1(*TABLE[2:6])]
    sent = asked_about("/v2/models/digits/infer", rows)["inputs"]
    assert [(tensor["name"], tensor["shape"]) for tensor in sent] == [(name, [9, 1]) for name in COLUMNS]
    assert np.array_equal(np.column_stack([tensor["data"] for tensor in sent]), [*TABLE[:2], *OTHERS, *TABLE[2:6]])


def test_one_text_in_a_list_of_its_own_is_text() -> None:
    texts = [{"name": "k", "datatype": "BYTES", "shape": [1, 1], "data": ["z"]}]
    numbers = [{"name": "a", "datatype": "FP64", "shape": [1, 1], "data": [2.5]}]
    rows = v1({"a": 0.5, "k": "x"}, {"a": 1.5, "k": None})
    rows += decode("v2", JSON, json.dumps({"inputs": [*numbers, *texts]}).encode())
    sent = asked_about("/invocations", rows)["dataframe_split"]
    assert sent["data"] == [[0.5, "x"], [1.5, None], [2.5, "z"]]


def unnamed_tensor(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "input-0", "datatype": "FP64", "shape": [3, 3], "data": OTHERS}
    return {"inputs": [{key: value for key, value in (tensor | changes).items() if value is not None}]}


def test_one_tensor_without_the_names_gets_them_in_every_form() -> None:
    """As lists of cells do: KServe's clients send a whole table as one tensor."""
    binary = json.dumps(unnamed_tensor(data=None, parameters={"binary_data_size": 72})).encode()
    parts = {"inference-header-content-length": str(len(binary)), "content-type": "application/octet-stream"}
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "org.kubeflow.serving.inference.request"}
    flat = unnamed_tensor(data=[cell for row in OTHERS for cell in row])
    forms = [
        ("v2", JSON, json.dumps(unnamed_tensor()).encode()),
        ("v2", JSON, json.dumps(flat).encode()),
        ("v2", parts, binary + np.array(OTHERS).tobytes()),
        ("cloudevents", JSON, json.dumps(unnamed_tensor()).encode()),
        ("cloudevents", JSON, json.dumps({**event, "data": flat}).encode()),
    ]
    for form in forms:
        sent = asked_about("/invocations", [*frame(TABLE), *decode(*form)])["dataframe_split"]
        assert sent == {"columns": COLUMNS, "data": [*TABLE, *OTHERS]}


def test_lists_are_taken_for_the_one_tensor_that_the_others_name() -> None:
    rows = [*decode("v2", JSON, json.dumps(unnamed_tensor()).encode()), *v1([7.5, 8, 9])]
    (sent,) = asked_about("/v2/models/digits/infer", rows)["inputs"]
    assert (sent["name"], sent["shape"], sent["data"][-3:]) == ("input-0", [4, 3], [7.5, 8, 9])


def test_one_odd_request_does_not_decide_for_the_others() -> None:
    """Another order, text among numbers, tensors among single cells."""
    odd = [
        *v2(**columns((3, 1), order=["b", "k", "a"]))[:1],
        *v1({"a": "text", "k": "text", "b": "text"}),
        *v2(a=np.ones((1, 2)), k=np.ones((1, 2)), b=np.ones((1, 2))),
    ]
    with serving(answering([])) as server:
        model = connect(f"{server.url}/invocations")
    for row in odd:
        rows = [row, *frame(TABLE), *v1([7.5, 8, 9.5])]
        inputs, kept, _ = model.collect(rows)
        assert kept[-13:] == list(range(1, 14)) and inputs is not None
        sent = inputs.assemble(inputs.array, slice(0, inputs.rows))
        assert sent["k"].tolist() == [*([7] if len(kept) == 14 else []), *range(12), 8]
        assert (sent["a"][-1], sent["b"][-1], sent["k"].dtype.kind) == (7.5, 9.5, "i")


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("v1", {"instances": [{"a": 0.5, "k": "x", "n": 3}, {"a": 1.5, "k": "y", "n": 4}]}),
        ("v1", {"instances": [{"a": [0.5], "k": ["x"], "n": [3]}, {"a": [1.5], "k": ["y"], "n": [4]}]}),
        ("v1", {"instances": [[0.5, 3.0], [1.5, 4.0]]}),
        ("v1", {"instances": [{"a": [[0.5, 1.5]], "b": [2]}, {"a": [[2.5, 3.5]], "b": [3]}]}),
        ("mlflow", {"dataframe_split": {"columns": ["a", "k"], "data": [[0.5, "x"], [None, None]]}}),
        ("mlflow", {"inputs": {"a": [[0.5, 1.5], [2.5, 3.5]], "b": [1, 2]}}),
        ("mlflow", {"inputs": [[[0.5], [1.5]], [[2.5], [3.5]]]}),
    ],
)
def test_what_a_client_sent_is_what_robmon_sends(source: str, body: Any) -> None:
    """Through codec and signature, without noise, with nothing told by the server."""
    url = {"v1": "/v1/models/digits:predict", "mlflow": "/invocations"}[source]
    with serving(answering([1.0, 2.0])) as server:
        rows = decode(source, {"content-type": "application/json"}, json.dumps(body).encode())
        outputs(connect(server.url + url), list(rows))
    assert json.loads(server.posts[0].body) == body


@pytest.mark.parametrize(
    "tensors",
    [
        [("x", "FP32", [2, 3], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5])],
        [("x", "FP32", [2, 1], [0.5, 1.5])],
        [("x", "FP64", [2], [0.5, 1.5])],
        [("a", "FP64", [2, 1], [0.5, 1.5]), ("k", "BYTES", [2, 1], ["x", "y"]), ("n", "INT64", [2, 1], [3, 4])],
        [("a", "FP64", [2], [0.5, 1.5]), ("k", "BYTES", [2], ["x", "y"])],
        [("a", "FP32", [2, 1, 2], [0.5, 1.5, 2.5, 3.5]), ("n", "INT8", [2, 2], [3, 4, 5, 6])],
    ],
)
def test_what_a_v2_client_sent_is_what_robmon_sends(tensors: Any) -> None:
    inputs = [{"name": name, "datatype": type_, "shape": shape, "data": data} for name, type_, shape, data in tensors]
    with serving(V2Model(lambda arrays: {"y": np.ones(2)}, "kserve", [])) as server:
        rows = decode("v2", {}, json.dumps({"inputs": inputs}).encode())
        outputs(connect(f"{server.url}/v2/models/digits/infer"), list(rows))
    sent = json.loads(server.posts[0].body)["inputs"]
    assert [{key: tensor[key] for key in inputs[0]} for tensor in sent] == inputs


def test_whole_numbers_alone_cannot_be_perturbed() -> None:
    with serving(answering([])) as server:
        model = connect(f"{server.url}/invocations")
    with pytest.raises(InvalidInputError, match="nothing can be perturbed"):
        model.collect([Row(columns={"a": 1, "b": "x"})] * 3)


@pytest.mark.parametrize(("came_as", "taken"), [("float32", "float32"), ("int64", "float64"), ("float64", "float64")])
def test_rows_without_names_keep_their_floating_type(came_as: str, taken: str) -> None:
    with serving(answering([])) as server:
        model = connect(f"{server.url}/invocations")
    inputs, _, _ = model.collect([Row(tensor=np.ones(3, dtype=came_as))] * 2)
    assert inputs is not None and inputs.array.dtype == taken
