"""Tables as people have them: encodings, compression, spreadsheets, amounts as text, groups, time and test files."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossary.compare import compare
from lossary.compare.amounts import amounts
from lossary.compare.run import Fold
from lossary.data import Stress, hold_out, load, sample, splits
from lossary.errors import DataError

pl = pytest.importorskip("polars", reason="data sets need the app extra")
pytest.importorskip("sklearn", reason="data sets need the app extra")

TEXT = "größe,x,y\n" + "\n".join(f"{('klein', 'groß')[i % 2]},{i % 5}.5,{i * 1.5}" for i in range(12)) + "\n"


def zstd(content: bytes) -> bytes:
    """A frame of one block that is stored as it is: what `zstd` itself could have written."""
    size = len(content)
    frame = b"\x28\xb5\x2f\xfd" + b"\xa0" + size.to_bytes(4, "little")
    return frame + ((size << 3) | 1).to_bytes(3, "little") + content


def workbook(path: Path, rows: list[list[Any]]) -> None:
    """The smallest spreadsheet that holds a table."""

    def cell(value: Any) -> str:
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return f"<c><v>{value}</v></c>"

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="one" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)


# --- formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "pack"),
    [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)],
)
def test_compressed_tables(ending: str, pack: Any, tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.csv", tmp_path / f"a.csv.{ending}"
    plain.write_text(TEXT, encoding="utf-8")
    packed.write_bytes(pack(TEXT.encode()))
    one, other = load(plain, "y"), load(packed, "y")
    assert (one.X == other.X).all() and one.features == other.features == ("größe=klein", "x")
    assert other.name == "a"


@pytest.mark.parametrize("ending", ["feather", "jsonl", "parquet", "xlsx"])
def test_other_formats(ending: str, tmp_path: Path) -> None:
    frame = pl.read_csv(TEXT.encode())
    path = tmp_path / f"a.{ending}"
    if ending == "xlsx":
        workbook(path, [frame.columns, *map(list, frame.iter_rows())])
    else:
        {"feather": frame.write_ipc, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[ending](path)
    data = load(path, "y")
    assert data.features == ("größe=klein", "x") and data.y.tolist() == [i * 1.5 for i in range(12)]


def test_a_format_is_told_by_how_the_file_begins(tmp_path: Path) -> None:
    pl.read_csv(TEXT.encode()).write_parquet(tmp_path / "a.dat")
    workbook(tmp_path / "b.csv", [["x", "y"], [1.5, 2.5], [3.5, 1.0], [2.0, 4.0]])
    assert load(tmp_path / "a.dat", "y").features == ("größe=klein", "x")
    assert load(tmp_path / "b.csv", "y").X.ravel().tolist() == [1.5, 3.5, 2.0]


@pytest.mark.parametrize(
    ("encoding", "name", "header"),
    [
        ("gbk", "gb18030", "姓名,城市,价格"),
        ("cp1252", "cp1252", "größe,stätte,preis"),
        ("utf-16", "utf-16", "größe,stätte,preis"),
        ("cp932", "cp932", "名前,都市,値段"),
    ],
)
def test_encodings_are_detected_and_told(encoding: str, name: str, header: str, tmp_path: Path) -> None:
    texts = header.split(",")
    rows = "\n".join(f"{texts[0]}{i % 2},{texts[1]}{i % 3},{i * 1.5}" for i in range(12))
    path = tmp_path / "a.csv"
    path.write_bytes(f"{header}\n{rows}\n".encode(encoding))
    data = load(path, texts[2])
    assert any(f"read in the encoding {name}, which was detected" in note for note in data.notes), data.notes
    given = load(path, texts[2], encoding=encoding)
    assert given.features == data.features and not any("encoding" in note for note in given.notes)


def test_an_encoding_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT.encode("cp1252"))
    with pytest.raises(DataError, match=r"a\.csv is not in utf-8: byte 0xf6 at 2"):
        load(path, "y", encoding="utf-8")
    with pytest.raises(DataError, match='encoding: got "nope", expected the name of one'):
        load(path, "y", encoding="nope")


# --- what columns hold ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "numbers", "unit"),
    [
        (["$1,234.50", "7"], [1234.5, 7], "$"),
        (["37.5 %", "4%"], [37.5, 4], "%"),
        (["1.234,5", "2"], [1234.5, 2], ""),
        (["€ 1.234.567,89", "\u22123,00 €"], [1234567.89, -3], "€"),
        (["1.234 €", "56 €"], [1234, 56], "€"),
        (["1,500", "2,250"], [1500, 2250], ""),
        (["1,5", "2,25"], [1.5, 2.25], ""),
        (["1\u202f234,5", None], [1234.5, None], ""),
        (["CHF 1'200.50", "(40)"], [1200.5, -40], "CHF"),
    ],
)
def test_amounts_as_text(texts: list[str | None], numbers: list[float | None], unit: str) -> None:
    assert amounts(texts) == (numbers, unit)


@pytest.mark.parametrize(
    "texts", [["555 1234 567"], ["12.03.2020"], ["1.5", "1,5"], ["$5", "€5"], ["(5"], ["a"], ["1,23,456"], [None]]
)
def test_what_is_no_amount(texts: list[str | None]) -> None:
    assert amounts(texts) is None


def test_amounts_in_a_table_are_read_and_told(tmp_path: Path) -> None:
    lines = "\n".join(f'{i % 7},"${1000 + 37.5 * i:,.2f}"' for i in range(40))
    path = tmp_path / "a.csv"
    path.write_text(f"x,price\n{lines}\n")
    data = load(path, "price")
    assert data.task == "regression" and data.y[1] == 1037.5
    assert "price: amounts as text read as numbers without $: $1,000.00 as 1000" in data.notes


def test_labels_that_differ_in_case_or_spaces_are_told() -> None:
    frame = pl.DataFrame({"x": np.arange(40) % 7, "y": ["Yes", "yes", "no", "no "] * 10})
    notes = "\n".join(load(frame, "y").notes)
    assert 'y: "Yes" and "yes" differ only in case or spaces' in notes and '"no" and "no " differ' in notes


def test_a_number_that_stands_for_a_missing_value_is_told() -> None:
    x = np.random.default_rng(0).normal(size=60)
    x[::6] = -999
    frame = pl.DataFrame({"x": x, "fair": np.arange(60.0) * 100 - 999, "y": np.arange(60) * 0.5 + 0.25})
    (note,) = [note for note in load(frame, "y").notes if "-999" in note]
    assert note.startswith("x: -999 occurs 10 times, far from all other values")


def test_counts_of_few_values_are_recognised() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    data = load((X, np.minimum(rng.poisson(0.5, 400), 4)))
    assert data.task == "count" and "or --task multiclass" in data.decision
    codes = load((X, rng.integers(0, 5, 400)))
    assert codes.task == "multiclass" and "or --task regression, or --task count" in codes.decision


def test_too_small_classes_are_all_named_and_counts_offered() -> None:
    y = np.array([0] * 30 + [1] * 20 + [2] * 3 + [3] * 1 + [5] * 6)
    data = load((np.random.default_rng(0).normal(size=(60, 2)), y))
    with pytest.raises(DataError) as refusal:
        splits(data, 5, 1)
    said = str(refusal.value)
    assert "class 3 has 1 member, class 2 has 3 members, fewer than the 5 folds" in said
    assert "or predict numbers with --task count (the task is multiclass, because y holds 5 different" in said


def test_a_loss_for_counts_on_classes_says_which_task_to_ask_for() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match=r"poisson_nll is for count tasks, but y holds 5 classes; .*--task count"):
        compare((rng.normal(size=(80, 2)), rng.integers(0, 5, 80)), ["poisson_nll"])


def test_amounts_that_are_often_zero_get_tweedie() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    y = np.where(rng.random(200) < 0.5, 0.0, np.exp(3 + X[:, 0]))
    data = load((X, y))
    assert data.zero_inflated and "% of them 0 (or --task positive)" in data.decision
    result = compare(data, model="linear", folds=2, seeds=1, epochs=3)
    assert {"tweedie_deviance", "squared_error"} <= {row.name for row in result.rows}
    positive = compare((X, y), task="positive", model="linear", folds=2, seeds=1, epochs=3)
    names = {row.name for row in positive.rows}
    assert "tweedie_deviance" in names and "gamma_nll" not in names, "the gamma distribution has no zeros"


# --- which rows -----------------------------------------------------------------------------------------------------


def frame_of(n: int = 60) -> Any:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "x": rng.normal(size=n),
            "shop": [f"shop {i % 12}" for i in range(n)],
            "day": [f"2024-01-{1 + (7 * i) % 28:02d}" for i in range(n)],
            "w": rng.integers(1, 4, n),
            "kind": ["ab"[i // 12 % 2] for i in range(n)],
            "y": rng.normal(size=n),
        }
    )


@pytest.mark.parametrize("target", ["y", "kind"])
def test_no_group_is_in_two_folds_nor_in_fit_and_validation(target: str) -> None:
    data = load(frame_of(), target, group="shop")
    assert data.groups is not None and not any(name.startswith("shop") for name in data.features)
    for split in splits(data, 4, 2):
        assert not set(data.groups[split.train]) & set(data.groups[split.test])
        fold = Fold.of(data, split, Stress(), np.zeros(data.X.shape[1], bool))
        assert len(fold.y) and len(fold.y_valid)
        fit, valid = hold_out(
            data.y[split.train], data.categorical, 0.15, np.random.default_rng(0), data.groups[split.train]
        )
        assert not set(data.groups[split.train][fit]) & set(data.groups[split.train][valid])


def test_held_out_rows_are_later_than_those_trained_on() -> None:
    frame = frame_of()
    data = load(frame, "y", time="day")
    assert data.ordered and "day" not in data.features
    later = dict(zip(frame["y"].to_list(), frame["day"].to_list(), strict=True))
    assert len(splits(data, 4, 2)) == 4, "no seed changes them"
    for split in splits(data, 4, 1):
        assert max(later[v] for v in data.y[split.train]) <= min(later[v] for v in data.y[split.test])
        fit, valid = hold_out(data.y[split.train], False, 0.15, np.random.default_rng(0), ordered=True)
        assert fit.max() < valid.min()


def test_sample_weights_reach_the_training_losses() -> None:
    """A row of weight 0 is as good as absent, and a row of weight 2 as two rows."""
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=80), rng.normal(size=80)
    wrong = np.arange(80) % 4 == 0
    frame = pl.DataFrame({"x": x, "w": np.where(wrong, 0.0, 1.0), "y": np.where(wrong, 50.0, 3 * x + 0.1 * noise)})
    options: dict[str, Any] = {"target": "y", "model": "linear", "folds": 2, "seeds": 1}
    deaf = compare(frame.drop("w"), ["squared_error"], **options).rows[0]
    weighted = compare(frame, ["squared_error"], weight="w", **options).rows[0]
    assert weighted.mean("pinball_0.5") < deaf.mean("pinball_0.5")
    errors = np.abs(np.subtract(*np.array(weighted.points).T))
    assert np.median(errors) < 0.3, "the rows with a weight are predicted as if the others were not there"


def test_a_test_file_is_what_is_held_out(tmp_path: Path) -> None:
    frame = frame_of()
    frame[:40].write_csv(tmp_path / "train.csv")
    frame[40:].write_csv(tmp_path / "test.csv")
    data = load(tmp_path / "train.csv", "y", test=tmp_path / "test.csv")
    (split,) = splits(data, 5, 1)
    assert data.tests == 20 and (data.y[split.test] == frame["y"][40:].to_numpy()).all()
    assert len(sample(data, 20).y) == 40, "the test rows stay"
    losses = ["squared_error", "huber"]
    result = compare(tmp_path / "train.csv", losses, target="y", test=tmp_path / "test.csv", model="linear", seeds=2)
    assert len(result.runs) == 2 and "--test " in result.command
    assert not any(np.isfinite(d.high) for d in result.differences()), "seeds alone tell nothing of other rows"
    assert "beats a constant" in result.verdict or "held out only once" in result.verdict
    frame.drop("x")[40:].write_csv(tmp_path / "other.csv")
    with pytest.raises(DataError, match="test: the column x is missing"):
        load(tmp_path / "train.csv", "y", test=tmp_path / "other.csv")


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ({"group": "shops"}, '--group: got "shops", which data frame does not have: did you mean shop'),
        ({"time": "kind"}, "--time: kind holds texts such as a, expected times or numbers"),
        ({"weight": "shop"}, "--weight: shop holds missing values or no numbers"),
        ({"weight": "x"}, "--weight: x holds -"),
        ({"group": "y"}, "--group: got the target; expected another column"),
    ],
)
def test_a_column_that_does_not_fit_its_role(roles: dict[str, str], said: str) -> None:
    with pytest.raises(DataError) as refusal:
        load(frame_of(), "y", **roles)
    assert said in str(refusal.value)


# --- several labels per row -----------------------------------------------------------------------------------------


def articles(n: int = 160) -> Any:
    """Articles with three labels that depend on the features, as columns and as tags."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    labels = X + 0.7 * rng.normal(size=(n, 3)) > 0.3
    names = np.array(["news", "sport", "tech"])
    return pl.DataFrame(
        {
            **{f"x{i}": X[:, i] for i in range(3)},
            "tags": ["|".join(names[row]) for row in labels],
            "sport": labels[:, 1].astype(int),
            "news": np.where(labels[:, 0], "yes", "no"),
        }
    )


def test_tags_and_columns_are_several_labels() -> None:
    frame = articles()
    tags = load(frame.drop("sport", "news"), "tags")
    assert tags.task == "multilabel" and tags.classes == ("news", "sport", "tech") and tags.y.shape == (160, 3)
    assert tags.decision == "multilabel, because tags holds 3 tags separated by |"
    columns = load(frame.drop("tags"), "sport, news")
    assert columns.classes == ("sport", "news") and (columns.y == tags.y[:, [1, 0]]).all()
    assert not {"sport", "news"} & set(columns.features)


def test_losses_of_several_labels_are_compared() -> None:
    frame = articles().drop("sport", "news")
    result = compare(frame, target="tags", model="linear", folds=2, seeds=1)
    names = {row.name for row in result.rows}
    assert {"binary_cross_entropy_with_logits", "hinge", "multilabel_margin"} <= names
    assert not [row.error for row in result.rows if row.error]
    assert result.metric.key == "micro_f1" and result.beats_references
    (constant,) = result.references
    best = result.trained[0]
    assert best.mean("micro_f1") > 0.6 > constant.mean("micro_f1")
    assert best.mean("hamming_loss") < constant.mean("hamming_loss")
    pytest.importorskip("jinja2", reason="the report needs the app extra")
    assert "3 classes" in result.to_html() and "Confusion" not in result.to_html()


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("sport,newz", {}, 'has no column "newz": did you mean news?'),
        ("sport,x0", {}, "x0 has 160 different values, expected 2 for a column of a multilabel target"),
        ("sport,news", {"task": "binary"}, "several target columns are a multilabel task, not binary"),
        ("news", {"task": "multilabel"}, "news holds no tags like a|b"),
        ("x0", {"task": "multilabel"}, "x0 holds no tags"),
    ],
)
def test_labels_that_are_none(target: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(DataError) as refusal:
        load(articles(), target, **options)
    assert said in str(refusal.value)


def test_a_loss_of_classes_does_not_fit_several_labels() -> None:
    with pytest.raises(DataError, match="softmax_cross_entropy is for multiclass tasks, but tags holds several labels"):
        compare(articles().drop("sport", "news"), ["cross_entropy"], target="tags")
