from pathlib import Path

import pytest

from aegis_gateway.configuration.read import read_directory
from aegis_gateway.domain.errors import ConfigurationError


def put(directory: Path, **files: str) -> None:
    """Write files; `__` in a name is a directory, `_` a dot."""
    for name, text in files.items():
        file = directory / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def refused(directory: Path) -> list[str]:
    """What reading a directory tells of."""
    with pytest.raises(ConfigurationError) as caught:
        read_directory(directory)
    return str(caught.value).splitlines()


def test_reads_the_main_file_and_the_policies(tmp_path: Path) -> None:
    """Texts by relative path, and nothing that isn't configuration."""
    put(
        tmp_path,
        aegis_yaml="version: 1",
        README_md="no",
        policies__10_cedar="a",
        policies__bank__x_cedar="b",
        policies__notes_txt="no",
        policies___hidden_cedar="no",
        _git__config="no",
    )
    expected = {"aegis.yaml": "version: 1", "policies/10.cedar": "a", "policies/bank/x.cedar": "b"}
    assert expected == read_directory(tmp_path)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    (tmp_path / "aegis.yaml").write_bytes(b"\xef\xbb\xbfversion: 1\r\n")
    assert {"aegis.yaml": "version: 1\r\n"} == read_directory(tmp_path)


def test_an_empty_directory_names_the_command(tmp_path: Path) -> None:
    """Without a configuration the next command is `aegis init`."""
    expected = f"there is no aegis.yaml in `{tmp_path}`; run `aegis init {tmp_path}` for a commented example"
    assert [expected] == refused(tmp_path)
    assert "run `aegis init" in refused(tmp_path / "nowhere")[0]


def test_a_misnamed_file_is_named(tmp_path: Path) -> None:
    """The other usual ending is told of."""
    put(tmp_path, aegis_yml="version: 1")
    assert [f"`{tmp_path / 'aegis.yml'}` is not read; rename it to aegis.yaml"] == refused(tmp_path)


def test_policies_in_the_wrong_place_are_told_of(tmp_path: Path) -> None:
    """A policy that wouldn't hold is a mistake, not a rule that silently fails."""
    put(tmp_path, aegis_yaml="", a_cedar="", policies__a__b__c_cedar="")
    words = "this is not read; policies are policies/NAME.cedar, or policies/TENANT/NAME.cedar"
    assert [f"a.cedar: {words}", f"policies/a/b/c.cedar: {words}"] == refused(tmp_path)


def test_links_out_of_the_directory_are_refused(tmp_path: Path) -> None:
    """A policy directory from elsewhere can't read files of the gateway's machine."""
    put(tmp_path, conf__aegis_yaml="version: 1", secret_txt="sk-canary")
    policies = tmp_path / "conf" / "policies"
    policies.mkdir()
    (policies / "a.cedar").symlink_to(tmp_path / "secret.txt")
    expected = ["policies/a.cedar: this links to outside the directory; put the file itself here"]
    assert expected == refused(tmp_path / "conf")


def test_the_main_file_may_not_link_out_either(tmp_path: Path) -> None:
    """The rule has no exception."""
    put(tmp_path, secret_txt="sk-canary", conf__x="")
    (tmp_path / "conf" / "aegis.yaml").symlink_to(tmp_path / "secret.txt")
    expected = ["aegis.yaml: this links to outside the directory; put the file itself here"]
    assert expected == refused(tmp_path / "conf")


def test_links_within_the_directory_are_followed(tmp_path: Path) -> None:
    """Kubernetes mounts configuration as links into a hidden directory beside them."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "aegis.yaml").write_text("version: 1")
    (tmp_path / "aegis.yaml").symlink_to("..data/aegis.yaml")
    assert {"aegis.yaml": "version: 1"} == read_directory(tmp_path)


def test_a_broken_link_is_told_of(tmp_path: Path) -> None:
    """A policy that can't be read isn't left out."""
    put(tmp_path, aegis_yaml="", policies__x="")
    (tmp_path / "policies" / "a.cedar").symlink_to("nowhere.cedar")
    expected = ["policies/a.cedar: this cannot be read; is it there, and may you read it?"]
    assert expected == refused(tmp_path)


def test_sizes_are_bounded(tmp_path: Path) -> None:
    """Files above their limits aren't read whole; all problems come at once."""
    put(tmp_path, aegis_yaml="#" * (1024 * 1024 + 1), policies__a_cedar="/" * (256 * 1024 + 1))
    expected = [
        "aegis.yaml: the file is larger than 1024 KiB; split it",
        "policies/a.cedar: the file is larger than 256 KiB; split it",
    ]
    assert expected == refused(tmp_path)


def test_other_encodings_are_told_of(tmp_path: Path) -> None:
    """Latin-1 isn't guessed at."""
    (tmp_path / "aegis.yaml").write_bytes("version: 1\nname: Zoë".encode("latin-1"))
    assert ["aegis.yaml:2: this is not UTF-8; save the file in that encoding"] == refused(tmp_path)
