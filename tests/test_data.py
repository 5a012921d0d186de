"""Tables: what each column becomes, what is refused and in which words, and that stress touches training rows only."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossary.data import BUNDLED, Scaling, Stress, hold_out, load, splits
from lossary.errors import DataError, LossaryError, ParameterError

pl = pytest.importorskip("polars", reason="data sets need the app extra")
pytest.importorskip("sklearn", reason="data sets need the app extra")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def table(n: int = 40) -> dict[str, list[Any]]:
    """A table with every kind of column, of which two can be used as they are."""
    rng = np.random.default_rng(0)
    return {
        "id": list(range(100, 100 + n)),
        "size": rng.normal(size=n).tolist(),
        "colour": [("red", "green", "blue")[i % 3] for i in range(n)],
        "side": [("left", "right")[i % 2] for i in range(n)],
        "day": [datetime.date(2024, 1, 1) + datetime.timedelta(days=i) for i in range(n)],
        "gap": [None if i % 5 == 0 else float(i * i) for i in range(n)],
        "same": [7] * n,
        "words": [f"text {i}" for i in range(n)],
        "many": [f"level {i % 25}" for i in range(n)],
        "flag": [i % 3 == 0 for i in range(n)],
        "void": [None] * n,
        "y": [("no", "yes")[i % 2] for i in range(n)],
    }


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task", "classes"),
    [
        ("breast_cancer", "binary", 2),
        ("diabetes", "regression", 0),
        ("digits", "multiclass", 10),
        ("iris", "multiclass", 3),
        ("linnerud", "regression", 0),
        ("wine", "multiclass", 3),
    ],
)
def test_bundled_sets(name: str, task: str, classes: int) -> None:
    data = load(name)
    assert data.task == task and len(data.classes) == classes
    assert data.X.shape == (len(data.y), len(data.features)) and np.isfinite(data.X).all()
    assert data.target not in data.features
    assert name in BUNDLED


def test_a_bundled_set_can_predict_another_of_its_columns() -> None:
    data = load("diabetes", "bmi")
    assert data.target == "bmi" and "progression" in data.features and "bmi" not in data.features
    assert load("linnerud", "Waist").features == load("linnerud").features == ("Chins", "Situps", "Jumps")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_mixed_columns(tmp_path: Path, kind: str) -> None:
    frame = pl.DataFrame(table())
    path = tmp_path / f"mixed.{kind}"
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    data = load(path)
    assert data.task == "binary" and data.classes == ("no", "yes") and data.target == "y"
    assert data.features == ("size", "colour=blue", "colour=green", "colour=red", "side=right", "gap", "flag")
    assert data.X[:3, 1:5].tolist() == [[0, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 0]]
    said = "\n".join(data.notes)
    for sentence in (
        "colour encoded as 3 columns of 0 and 1",
        "side encoded as 1 column of 0 and 1",
        "id, words dropped: different in every row",
        "day dropped: dates or times",
        "same dropped: the same in every row",
        "many dropped: 25 different texts, more than the 20",
        "void dropped: no value is known",
        "filled with the median of the training fold, and marked by a further 0/1 column: gap (8)",
    ):
        assert sentence in said, sentence
    assert "binary, because y has 2 different values" in data.decision


def test_separators_and_missing_targets(tmp_path: Path) -> None:
    rows = "\n".join(f"{i}.5;{i % 4}.25;{'' if i == 3 else i * 1.5}" for i in range(12))
    data = load(write(tmp_path / "a.csv", "a;b;price\n" + rows), "price")
    assert data.features == ("a", "b") and len(data.y) == 11
    assert "1 row without a known price dropped" in data.notes


def test_a_level_may_be_missing() -> None:
    frame = pl.DataFrame({"kind": ["a", None, "b", "a"] * 5, "y": [0.5, 1.5, 2.5, 3.5] * 5})
    data = load(frame, "y")
    assert data.features == ("kind=a", "kind=b", "kind missing")
    assert "kind: 5 missing values encoded as a level of its own" in data.notes


def test_infinite_features_are_missing() -> None:
    frame = pl.DataFrame({"x": [1.0, float("inf"), 3.0, 4.0], "y": [0.5, 1.5, 2.5, 3.5]})
    data = load(frame, "y")
    assert np.isnan(data.X[1, 0]) and "x: 1 infinite value taken as missing" in data.notes


def test_arrays() -> None:
    data = load((np.arange(12.0).reshape(6, 2), np.array([0, 1, 2, 0, 1, 2])))
    assert data.features == ("x0", "x1") and data.task == "multiclass" and data.classes == ("0", "1", "2")
    assert load(data) is data


@pytest.mark.parametrize(
    ("values", "task", "said"),
    [
        ([0, 1], "binary", "has 2 different values"),
        ([0.5, 1.5], "binary", "has 2 different values"),
        ([True, False], "binary", "has 2 different values"),
        ([3, 4, 5], "multiclass", "or --task regression"),
        (list(range(15)), "regression", "or --task count"),
        ([-1 * i for i in range(15)], "regression", "15 different numbers"),
        ([0.1, 0.2, 0.3], "regression", "3 different numbers"),
        (["a", "b", "c"], "multiclass", "3 different texts"),
    ],
)
def test_the_task_is_read_off_the_target(values: list[Any], task: str, said: str) -> None:
    n = 5 * len(values)
    frame = pl.DataFrame({"x": np.random.default_rng(0).normal(size=n), "t": values * 5})
    data = load(frame, "t")
    assert data.task == task and said in data.decision


def test_the_task_can_be_said() -> None:
    frame = pl.DataFrame({"x": np.random.default_rng(0).normal(size=30), "t": list(range(15)) * 2})
    assert load(frame, "t", "count").task == "count"
    assert load(frame, "t", "multiclass").classes[:3] == ("0", "1", "2")
    assert load(frame.with_columns(t=pl.col("t") + 1), "t", "positive").task == "positive"


# --- files as people write them -------------------------------------------------------------------------------------


def rows(*columns: str, n: int = 60) -> str:
    """Lines of a file; a column is written with `{i}` for the number of its row."""
    return "\n".join(",".join(columns).format(i=i, half=i / 2 + 0.1, odd=i % 2, three=i % 3) for i in range(n)) + "\n"


def test_the_target_that_was_taken_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "x,Label\n" + rows("{half}", "{odd}"))
    told = "target: Label, by its name; --target chooses another column"
    assert told in load(path).notes and told not in load(path, "Label").notes
    assert load("linnerud").notes[0] == "target: Weight; --target can be Waist or Pulse instead"
    assert not load("linnerud", "Pulse").notes and not load("iris").notes


def test_a_mark_of_unicode_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    text = "\ufeffx;kind;y\n" + rows("{half};{three};{odd}").replace(".", ",")
    data = load(write(tmp_path / "a.csv", text))
    assert data.features == ("x", "kind") and data.task == "binary"
    assert np.allclose(data.X[:, 0], np.arange(60) / 2 + 0.1)
    assert "x: decimal commas read as points" in data.notes


def test_quoted_newlines_and_separators(tmp_path: Path) -> None:
    text = '"a; b;\nc",note,y\n' + rows("{half}", '"line {three}\nnext; line"', "{odd}")
    data = load(write(tmp_path / "a.csv", text))
    assert data.features[0] == "a; b;\nc" and len(data.y) == 60
    assert data.features[1:] == tuple(f"note=line {k}\nnext; line" for k in range(3))


def test_spaces_around_names_and_values(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.csv", " x , gap, y \n" + rows("{half} ", " NA", " {odd}")))
    assert data.features == ("x",) and data.target == "y" and data.classes == ("0", "1")
    assert "gap dropped: no value is known" in data.notes
    with pytest.raises(DataError, match="two columns have the same name but for spaces"):
        load(write(tmp_path / "a.csv", "x,x ,y\n" + rows("{half}", "{i}", "{odd}")))


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.csv", "x,x,x,y\n" + rows("{half}", "{three}", "{half}", "{odd}")))
    assert data.features == ("x", "x (2)", "x (3)")
    assert "3 columns are called x; here they are x, x (2), x (3)" in data.notes
    text = "x,y,y\n" + rows("{half}", "{odd}", "{odd}")
    with pytest.raises(DataError, match="has 2 columns called y; rename all but the one to predict"):
        load(write(tmp_path / "a.csv", text))  # a second target among the features would give the answer away
    assert load(tmp_path / "a.csv", "x").features == ("y", "y (2)")


def test_a_text_in_a_row_that_is_left_out_makes_no_text_of_a_column(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.csv", "x,y\n" + rows("{half}", "{odd}") + "total,\n"))
    assert data.features == ("x",) and data.X.shape == (60, 1)


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.csv", "x,,y,\n" + rows("{half}", "{three}", "{odd}", "")))
    assert data.features == ("x", "column 2") and "column 4 dropped: no value is known" in data.notes


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["z", "m", "b", "a"])], ids=str)
def test_categories_in_an_order_of_their_own(kind: Any) -> None:
    written = ["z", "a", "m", "b"] * 10
    frame = pl.DataFrame({"x": np.arange(40) / 3, "kind": pl.Series(written, dtype=kind)})
    data = load(frame, "kind")
    assert [data.classes[k] for k in data.y] == written
    assert load(frame, "x").features == ("kind=a", "kind=b", "kind=m", "kind=z")


def test_truth_values_and_answers(tmp_path: Path) -> None:
    text = "x,flag,answer\n" + rows("{half}", "{odd}", "{odd}").replace(",0,0", ",false,no").replace(
        ",1,1", ",true,yes"
    )
    data = load(write(tmp_path / "a.csv", text), "answer")
    assert data.classes == ("no", "yes") and (data.X[:, 1] == data.y).all() and data.continuous == (True, False)
    assert load(tmp_path / "a.csv", "flag").task == "binary"


# --- refusals -------------------------------------------------------------------------------------------------------

NORMAL = "x,y\n" + "\n".join(f"{i}.5,{i * i}.25" for i in range(12))


@pytest.mark.parametrize(
    ("text", "target", "task", "said"),
    [
        ("", None, "auto", "a.csv is empty"),
        ("x,y\n", None, "auto", "has a header but no rows"),
        ("x,y\n1,2\n1,2,3\n", None, "auto", "a row has more fields than the first line has names"),
        ("x,y\n1.5,2\n", None, "auto", "one row with a known y"),
        ("1,2\n3,4\n5,6\n", "2", "auto", "the first line holds only numbers"),
        ("x,z\n1,2\n3,4\n", None, "auto", "say which column to predict with --target; it has x, z"),
        (NORMAL, "yy", "auto", 'no column "yy"'),
        ("price,y\n1,2\n3,4\n", "prise", "auto", "did you mean price?"),
        ("y\n1\n2\n", None, "auto", "only the column y"),
        ("x,y\n1,\n2,\n", None, "auto", "y is missing in every row"),
        ("x,y\n1,5\n2,5\n", None, "auto", "y is 5 in every row"),
        ("x,y\n1,1.5\n1,2.5\n", None, "auto", "no usable feature column: x dropped: the same in every row"),
        ("x,y\n1,2024-01-01\n2,2024-01-02\n", None, "auto", "y holds dates or times"),
        (NORMAL, None, "binary", "12 different values, a binary target has 2"),
        ("x,y\n1,a\n2,b\n", None, "regression", "y holds text (a, b ...), not numbers"),
        (NORMAL, None, "count", "y holds 0.25, which is no count"),
        ("x,y\n1,-2\n2,3\n", None, "positive", "y holds -2, which is negative"),
        ("x,y\n1,1.5e300\n2,3\n3,4.5\n", None, "regression", "y reaches 1.5e+300, whose square no float holds"),
        ("x,y\n1,1.5e-300\n2,3e-300\n3,0\n", None, "regression", "y reaches 3e-300, whose square no float holds"),
        (NORMAL, None, "zzz", 'no task called "zzz": there are auto, binary, multiclass, multilabel, regression'),
        (NORMAL, None, "clas", 'no task called "clas": did you mean multiclass?'),
        ("x,y\n" + "\n".join(f"{i},name {i}" for i in range(120)), None, "auto", "120 different values in 120 rows"),
    ],
)
def test_a_file_that_cannot_be_learned_from(
    tmp_path: Path, text: str, target: str | None, task: str, said: str
) -> None:
    with pytest.raises(DataError) as refusal:
        load(write(tmp_path / "a.csv", text), target, task)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("irsi", 'no data set called "irsi": did you mean iris?'),
        ("nope", 'no data set called "nope"; there are breast_cancer, diabetes, digits, iris, linnerud, wine (or'),
        ("nowhere/a.csv", "no file nowhere/a.csv"),
        ((np.zeros((3, 2)), np.zeros(4)), "got shapes (3, 2) and (4,)"),
        ((np.zeros((3, 2)),), "expected a pair (X, y)"),
    ],
)
def test_a_source_that_is_none(source: Any, said: str) -> None:
    with pytest.raises(DataError) as refusal:
        load(source)
    assert said in str(refusal.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        load(tmp_path)
    broken = tmp_path / "a.parquet"
    broken.write_bytes(b"this is not parquet")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        load(broken)
    broken = tmp_path / "a.csv"
    broken.write_bytes(b"x,y\n1,2,3\n2,3\n")
    with pytest.raises(DataError, match=r"a\.csv cannot be read as CSV: a row has more fields than the first line"):
        load(broken, "y")
    (tmp_path / "a.xlsx").write_bytes(b"this is not a workbook")
    with pytest.raises(DataError, match=r"a\.xlsx cannot be read as Excel"):
        load(tmp_path / "a.xlsx", "y")
    with pytest.raises(DataError, match=r"did you mean a\.csv\?"):
        load(tmp_path / "b.csv")


# --- folds ----------------------------------------------------------------------------------------------------------


def test_every_row_is_held_out_once_by_every_seed() -> None:
    data = load("iris")
    found = splits(data, 5, 2)
    for seed in (0, 1):
        held = np.concatenate([s.test for s in found if s.seed == seed])
        assert sorted(held) == list(range(150))
    for split in found:
        assert not set(split.train) & set(split.test)
        assert np.bincount(data.y[split.test]).tolist() == [10, 10, 10]
    again = splits(data, 5, 2)
    assert all((a.test == b.test).all() for a, b in zip(found, again, strict=True))
    assert any((a.test != b.test).any() for a, b in zip(found[:5], found[5:], strict=True))


def test_too_few_for_the_folds() -> None:
    frame = {"x": np.random.default_rng(0).normal(size=12), "y": ["a"] * 10 + ["b"] * 2}
    with pytest.raises(DataError, match=r"class b has 2 members, fewer than the 5 folds; use --folds 2"):
        splits(load(pl.DataFrame(frame), "y"), 5, 1)
    with pytest.raises(DataError, match=r"20 rows, too few for 11 folds; use --folds 10"):
        splits(load("linnerud"), 11, 1)
    for folds, seeds, said in ((1, 1, "folds: got 1"), (2, 0, "seeds: got 0")):
        with pytest.raises(ParameterError, match=said):
            splits(load("iris"), folds, seeds)


def test_validation_takes_no_class_away() -> None:
    y = np.array([0] * 30 + [1] * 2 + [2])
    fit, valid = hold_out(y, True, 0.4, np.random.default_rng(0))
    assert sorted([*fit, *valid]) == list(range(33)) and set(y[fit]) == {0, 1, 2} and len(valid) == 13
    fit, valid = hold_out(np.arange(3.0), False, 0.1, np.random.default_rng(0))
    assert len(fit) == 2 and len(valid) == 1, "something is always validated on"


def test_scaling_learns_from_the_training_fold_alone() -> None:
    train = np.array([[1.0, 5.0], [3.0, 5.0], [np.nan, 5.0]])
    scaling = Scaling.of(train, np.array([True, False]))
    seen = scaling(train)
    assert np.allclose(seen.mean(axis=0), 0) and np.allclose(seen[:, 0].std(), 1)
    assert seen.shape == (3, 3) and np.isfinite(seen).all()
    new = scaling(np.array([[np.nan, 6.0]]))
    assert np.allclose(new[0, 0], seen[2, 0]), "filled with the training fold's median"
    assert np.allclose(new[0, 1], 1.0), "a constant column is only centred"
    assert np.allclose(new[0, 2], seen[2, 2])


# --- stress ---------------------------------------------------------------------------------------------------------


def test_label_noise_moves_exactly_that_many_labels_to_another_class() -> None:
    data = load("iris")
    kept, noisy = Stress(label_noise=0.2).apply(data.y, data, np.random.default_rng(0))
    assert (kept == np.arange(150)).all() and (noisy != data.y).sum() == 30 and set(noisy) == {0, 1, 2}
    _, again = Stress(label_noise=0.2).apply(data.y, data, np.random.default_rng(0))
    assert (again == noisy).all()


def test_outliers_are_gross_and_on_both_sides() -> None:
    data = load("diabetes")
    _, moved = Stress(outliers=0.05).apply(data.y, data, np.random.default_rng(0))
    changed = np.flatnonzero(moved != data.y)
    spread = 1.4826 * np.median(np.abs(data.y - np.median(data.y)))
    sizes = (moved - data.y)[changed] / spread
    assert len(changed) == round(0.05 * 442)
    assert (np.abs(sizes) >= 10).all() and (np.abs(sizes) <= 20).all() and sizes.min() < 0 < sizes.max()


def test_outliers_among_counts_stay_counts() -> None:
    frame = pl.DataFrame({"x": np.random.default_rng(0).normal(size=60), "y": list(range(20)) * 3})
    data = load(frame, "y", "count")
    _, moved = Stress(outliers=0.1).apply(data.y, data, np.random.default_rng(0))
    assert (moved >= data.y).all() and (moved == np.round(moved)).all() and (moved > data.y).sum() == 6


@pytest.mark.parametrize("name", ["breast_cancer", "digits"])
def test_imbalance_reaches_the_ratio(name: str) -> None:
    data = load(name)
    kept, y = Stress(imbalance=20).apply(data.y, data, np.random.default_rng(0))
    assert (y == data.y[kept]).all(), "labels stay as they are"
    members = np.bincount(y)
    assert 16 <= members.max() / members.min() <= 24 and members.max() == np.bincount(data.y).max()


def test_a_class_is_never_lost_to_imbalance() -> None:
    data = load("iris")
    _, y = Stress(imbalance=1e6).apply(data.y, data, np.random.default_rng(0))
    assert np.bincount(y).min() == 2


@pytest.mark.parametrize(
    ("stress", "name", "said"),
    [
        (Stress(label_noise=1.0), "iris", "label noise: got 1"),
        (Stress(outliers=0.5), "diabetes", "outliers: got 0.5"),
        (Stress(imbalance=0.5), "iris", "imbalance: got 0.5"),
        (Stress(outliers=0.1), "iris", "species holds classes; use --label-noise"),
        (Stress(label_noise=0.1), "diabetes", "progression holds numbers; use --outliers"),
        (Stress(imbalance=9), "diabetes", "progression holds numbers, not classes"),
    ],
)
def test_stress_that_does_not_fit(stress: Stress, name: str, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        stress.check(load(name))


def test_every_refusal_is_a_lossary_error() -> None:
    assert issubclass(DataError, LossaryError) and issubclass(DataError, ValueError)
