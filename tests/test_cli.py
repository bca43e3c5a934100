"""The command line: what it prints, where, and with which exit status."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest

import phigguf
from phigguf.cli import main

VERBS = ["bench", "chat", "convert", "demo", "generate", "info", "inspect", "quantize"]


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def run_command(*words: object) -> Outcome:
        status = main([str(word) for word in words])
        return Outcome(status, *capsys.readouterr())

    return run_command


def start(*words: object, **pipes: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "phigguf", *map(str, words)]
    return subprocess.Popen(command, **pipes)


def assert_refused(outcome: Outcome, *mentioned: object) -> None:
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.startswith("phigguf: error: ")
    assert outcome.err.count("\n") == 1
    for part in mentioned:
        assert str(part) in outcome.err


# --- the command itself ---------------------------------------------------------------------------


def test_help_lists_every_verb(run):
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    listed = [line.split()[0] for line in out.split("Commands:")[1].splitlines() if line.strip()]
    assert listed == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(run, verb):
    status, out, _ = run(verb, "--help")
    assert status == 0
    assert out.startswith(f"Usage: phigguf {verb} ")


def test_version(run):
    assert run("--version") == (0, f"phigguf {phigguf.__version__}\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ["transmogrify"],
        ["convert"],
        ["convert", "somewhere"],
        ["generate", "model.gguf", "-p", "x", "--temperature", "-1"],
        ["generate", "model.gguf", "-p", "x", "--top-p", "0"],
        ["generate", "model.gguf", "-p", "x", "--kv-type", "Q4_K"],
        ["bench", "model.gguf", "-r", "0"],
        ["info", "--threads", "2"],
    ],
)
def test_wrong_usage_exits_2(run, words):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert "Error: " in err


# --- convert and quantize -------------------------------------------------------------------------


def test_convert_reports_every_tensor(run, checkpoint, tmp_path):
    target = tmp_path / "model.gguf"
    status, out, err = run("convert", checkpoint, "-o", target, "--type", "Q4_K_M")
    assert (status, err) == (0, "")
    with phigguf.read_gguf(target) as file:
        lines = out.splitlines()
        for tensor in file.tensors.values():
            (line,) = [line for line in lines if line.split(" ")[0] == tensor.name]
            assert f" {tensor.type.name} " in line


def test_convert_report_as_json_is_the_library_s(run, checkpoint, tmp_path):
    status, out, err = run("convert", checkpoint, "-o", tmp_path / "a.gguf", "--json")
    assert (status, err) == (0, "")
    printed = json.loads(out)
    report = phigguf.convert(checkpoint, tmp_path / "b.gguf", "BF16", progress=False).to_dict()
    assert printed["tensors"] == report["tensors"]


def test_dry_run_writes_nothing_and_plans_the_same(run, checkpoint, tmp_path):
    target = tmp_path / "model.gguf"
    planned = run("convert", checkpoint, "-o", target, "--type", "Q4_K_M", "--dry-run", "--json")
    assert planned.status == 0
    assert list(tmp_path.iterdir()) == []
    done = run("convert", checkpoint, "-o", target, "--type", "Q4_K_M", "--json")

    def choices(outcome):
        return [(item["name"], item["type"]) for item in json.loads(outcome.out)["tensors"]]

    assert choices(planned) == choices(done)


def test_quantize_with_types_of_ones_own(run, demo_gguf, tmp_path):
    target = tmp_path / "model.gguf"
    status, out, err = run(
        *("quantize", demo_gguf, target, "Q4_K_S"),
        *("--tensor-type", r"ffn_down=Q6_K", "--tensor-type", r"blk\.0\.=Q5_0"),
        *("--token-embedding-type", "Q8_0", "--output-tensor-type", "F16"),
        *("--threads", 1, "--json"),
    )
    assert (status, err) == (0, "")
    types = {item["name"]: item["type"] for item in json.loads(out)["tensors"]}
    assert types["token_embd.weight"] == "Q8_0"
    assert types["blk.0.ffn_down.weight"] == types["blk.1.ffn_down.weight"] == "Q6_K"
    assert types["blk.0.attn_qkv.weight"] == "Q5_0"
    assert types["blk.0.attn_norm.weight"] == "F32"
    with phigguf.read_gguf(target) as file:
        assert {name: tensor.type.name for name, tensor in file.tensors.items()} == types


def test_pure_gives_every_matrix_the_same_type(run, demo_gguf, tmp_path):
    outcome = run("quantize", demo_gguf, tmp_path / "m.gguf", "Q4_K_M", "--pure", "--json")
    tensors = json.loads(outcome.out)["tensors"]
    assert {item["type"] for item in tensors if len(item["shape"]) == 2} == {"Q4_K"}


@pytest.mark.parametrize("wrong", ["ffn_down", "=Q6_K", "ffn_down="])
def test_a_tensor_type_needs_a_pattern_and_a_type(run, demo_gguf, tmp_path, wrong):
    status, _, err = run("quantize", demo_gguf, tmp_path / "m", "Q8_0", "--tensor-type", wrong)
    assert status == 2
    assert f"{wrong!r} is not of the form REGEX=TYPE" in err


def test_a_missing_checkpoint_is_refused(run, tmp_path):
    outcome = run("convert", tmp_path / "nowhere", "-o", tmp_path / "model.gguf")
    assert_refused(outcome, tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["Q4_Z"],
        ["Q4_K_M", "--tensor-type", "ffn_down=Q4_Z"],
        ["Q4_K_M", "--tensor-type", "(=Q4_K"],
        ["Q4_K_M", "--tensor-type", "no_such_tensor=Q4_K"],
        ["Q4_K_M", "--output-tensor-type", "Q4_Z"],
        ["Q4_K_M", "--imatrix", "no-such-file.dat"],
    ],
)
def test_what_cannot_be_honoured_is_refused_without_output(run, demo_gguf, tmp_path, words):
    assert_refused(run("quantize", demo_gguf, tmp_path / "model.gguf", *words))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 3, 24, 1000, -1])
def test_a_truncated_file_is_refused_without_output(run, demo_gguf, tmp_path, kept):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(demo_gguf.read_bytes()[:kept])
    for words in (
        ["quantize", broken, tmp_path / "model.gguf", "Q4_0"],
        ["inspect", broken],
        ["generate", broken, "-p", "x"],
        ["bench", broken],
    ):
        assert_refused(run(*words), broken)
    assert list(tmp_path.iterdir()) == [broken]


def test_an_output_that_cannot_be_written_is_refused(run, demo_gguf, tmp_path):
    assert_refused(run("quantize", demo_gguf, tmp_path / "no" / "m.gguf", "Q8_0"), tmp_path / "no")
    assert_refused(run("quantize", demo_gguf, tmp_path, "Q8_0"), tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- inspect, info, bench -------------------------------------------------------------------------


def test_inspect_shows_metadata_and_tensors(run, demo_gguf):
    status, out, err = run("inspect", demo_gguf)
    assert (status, err) == (0, "")
    with phigguf.read_gguf(demo_gguf) as file:
        first_words = {line.split(" ")[0] for line in out.splitlines()}
        assert first_words >= set(file.metadata) | set(file.tensors)
        size = sum(tensor.nbytes for tensor in file.tensors.values())
        assert f"{len(file.tensors)} tensors, " in out
        assert f" {size:,} bytes, " in out


def test_inspect_as_json(run, demo_gguf):
    brief = json.loads(run("inspect", demo_gguf, "--json").out)
    full = json.loads(run("inspect", demo_gguf, "--json", "--arrays").out)
    with phigguf.read_gguf(demo_gguf) as file:
        tokens = file.metadata["tokenizer.ggml.tokens"]
        assert brief["metadata"]["tokenizer.ggml.tokens"] == {"length": len(tokens)}
        assert full["metadata"]["tokenizer.ggml.tokens"] == tokens
        assert brief["metadata"]["general.architecture"] == "phi3"
        assert brief["tensors"] == full["tensors"]
        assert [
            (item["name"], item["shape"], item["type"], item["bytes"]) for item in brief["tensors"]
        ] == [
            (tensor.name, list(tensor.shape), tensor.type.name, tensor.nbytes)
            for tensor in file.tensors.values()
        ]


def test_inspect_does_not_let_a_file_steer_the_terminal(run, demo_gguf, tmp_path):
    hostile = tmp_path / "hostile.gguf"
    plain, escape = b"general.architecture", b"\x1b[2Jral.architecture"
    hostile.write_bytes(demo_gguf.read_bytes().replace(plain, escape, 1))
    status, out, _ = run("inspect", hostile)
    assert status == 0
    assert "\x1b" not in out
    assert r"\x1b[2J" in out


def test_info(run):
    facts = json.loads(run("info", "--json").out)
    assert facts["version"] == phigguf.__version__
    assert facts["isa"] == phigguf.isa()
    assert facts["isa"] in facts["available_isas"]
    assert set(facts["available_isas"]) <= set(facts["compiled_isas"])
    assert facts["cpu"]
    text = run("info").out
    assert f"isa             {phigguf.isa()}\n" in text


def test_bench_says_what_was_measured_and_on_what(run, demo_gguf):
    outcome = run("bench", demo_gguf, "-p", 5, "-n", 3, "-d", 4, "-r", 2, "--threads", 1, "--json")
    assert (outcome.status, outcome.err) == (0, "")
    result = json.loads(outcome.out)
    assert result["version"] == phigguf.__version__
    assert result["isa"] == phigguf.isa()
    assert (result["threads"], result["depth"]) == (1, 4)
    assert result["cpu"]
    for name, tokens in (("prefill", 5), ("decode", 3)):
        speed = result[name]
        assert speed["tokens"] == tokens
        assert len(speed["runs"]) == 2
        assert 0 < speed["min"] <= speed["median"] <= speed["max"]
        assert result[f"{name}_tps"] == speed["median"]


# --- generate, chat, demo -------------------------------------------------------------------------

GREEDY = ["--temperature", 0, "-n", 12]


def test_generate_prints_the_library_s_text(run, demo_gguf):
    status, out, err = run("generate", demo_gguf, "-p", "And God said", *GREEDY)
    model = phigguf.load(demo_gguf)
    assert (status, err) == (0, "")
    assert out == f"{model.generate('And God said', max_tokens=12, temperature=0)}\n"


def test_generate_reads_the_prompt_from_standard_input(run, demo_gguf, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("And God said"))
    piped = run("generate", demo_gguf, "-p", "-", *GREEDY)
    assert piped == run("generate", demo_gguf, "-p", "And God said", *GREEDY)


def test_a_seed_repeats_the_text(run, demo_gguf):
    words = ["generate", demo_gguf, "-p", "And God said", "-n", 12, "--seed"]
    assert run(*words, 7) == run(*words, 7)
    assert run(*words, 7) != run(*words, 8)


def test_stop_ends_the_text_before_it(run, demo_gguf):
    words = ["generate", demo_gguf, "-p", "And God said", *GREEDY]
    whole = run(*words).out.removesuffix("\n")
    stop = whole[len(whole) // 2 :][:3]
    assert run(*words, "--stop", stop).out == whole[: whole.index(stop)] + "\n"


def test_chat_remembers_the_conversation(run, demo_gguf, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("Who art thou?\n\nWhat is thy name?\n"))
    status, out, err = run("chat", demo_gguf, "--system", "Be brief.", *GREEDY)
    assert (status, err) == (0, "")

    model = phigguf.load(demo_gguf)
    messages = [{"role": "system", "content": "Be brief."}]
    expected = []
    for question in ("Who art thou?", "What is thy name?"):
        messages.append({"role": "user", "content": question})
        answer = str(model.chat(messages, max_tokens=12, temperature=0))
        messages.append({"role": "assistant", "content": answer})
        expected.append(answer + "\n")
    assert out == "".join(expected)


def test_demo_shows_the_whole_path(run, monkeypatch):
    monkeypatch.setattr("phigguf.demo.held_out_texts", lambda _: ["And God said, Let there be."])
    status, out, err = run("demo", "-n", 8, "-p", "And God said", "--perplexity")
    assert (status, err) == (0, "")
    table, _, text = out.partition("\n\nAnd God said")
    assert "token_embd.weight" in table
    assert "tokens/s" in text
    assert "Perplexity on text held out of training" in text


# --- a process among others -----------------------------------------------------------------------


def test_every_piece_of_text_appears_at_once(demo_gguf, monkeypatch):
    class Terminal(io.StringIO):
        shown: ClassVar[list[str]] = []

        def flush(self) -> None:
            self.shown.append(self.getvalue())

    monkeypatch.setattr("sys.stdout", Terminal())
    assert main(["generate", str(demo_gguf), "-p", "And God said", *map(str, GREEDY)]) == 0
    stream = phigguf.load(demo_gguf).generate(
        "And God said", max_tokens=12, temperature=0, stream=True
    )
    growing = list(itertools.accumulate(stream))
    assert len(growing) > 5
    assert [text for text in growing if text not in Terminal.shown] == []


def test_ctrl_c_ends_generation_quietly(demo_gguf, tmp_path):
    key = b"phi3.context_length" + struct.pack("<I", 4)
    endless = tmp_path / "endless.gguf"
    short, long = (key + struct.pack("<I", length) for length in (1024, 1 << 20))
    endless.write_bytes(demo_gguf.read_bytes().replace(short, long, 1))
    words = ["generate", endless, "-p", "And", "--temperature", 1.5, "--seed", 1, "-n", 1 << 20]
    process = start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert os.read(process.stdout.fileno(), 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err.strip()) == (130, b"")


def test_a_closed_pipe_is_no_drama(demo_gguf):
    reader, writer = os.pipe()
    os.close(reader)
    process = start("inspect", demo_gguf, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, err = process.communicate()
    assert (process.returncode, err) == (1, b"")


def test_any_text_can_be_printed_in_any_encoding(demo_gguf, tmp_path):
    model = tmp_path / "模.gguf"
    model.write_bytes(demo_gguf.read_bytes())
    environment = os.environ | {"PYTHONIOENCODING": "latin-1:strict"}
    command = [sys.executable, "-m", "phigguf", "inspect", str(model)]
    result = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert rb"\u6a21.gguf" in result.stdout


def test_no_progress_bar_in_a_pipe(checkpoint, tmp_path):
    target = tmp_path / "model.gguf"
    process = start("convert", checkpoint, "-o", target, stderr=subprocess.PIPE, stdout=-3)
    assert process.communicate()[1] == b""
    assert target.exists()


def test_an_unexpected_operating_system_error_is_one_line(run, monkeypatch, demo_gguf):
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "model.gguf")

    monkeypatch.setattr(phigguf, "read_gguf", fail)
    assert_refused(run("inspect", demo_gguf), "No space left on device", "model.gguf")


def test_python_dash_m_is_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "phigguf", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"phigguf {phigguf.__version__}\n"


def test_help_stays_quick_by_importing_nothing_heavy():
    probe = "import sys, phigguf.cli; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True
    )
    assert not {"tokenizers", "jinja2", "tqdm"} & set(result.stdout.split())


@pytest.mark.parametrize("verb", ["convert", "quantize"])
def test_every_option_of_the_library_is_on_the_command_line(verb):
    import inspect

    from phigguf.cli import cli

    function = {"convert": phigguf.convert, "quantize": phigguf.quantize_file}[verb]
    keywords = {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    offered = {parameter.name for parameter in cli.commands[verb].params}
    assert keywords - {"progress"} <= offered


def test_model_names_are_paths(demo_gguf, run):
    assert run("inspect", Path(os.path.relpath(demo_gguf))).status == 0
