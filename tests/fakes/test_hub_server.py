"""The local hub answers the unmodified clients as the hub does, and fails when it is told to."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import pandas as pd
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.fakes.hub_faults import Fault
from tests.fakes.hub_messages import Token
from tests.fakes.hub_server import Server, serve
from tests.fakes.hub_store import BIG, Repo

WRITE, READ = "hf_write", "hf_read"
TOKENS: dict[str, str | Token] = {WRITE: "write", READ: "read", "hf_guest": Token("contribute", "guest")}
KEY, NAME = "datasets/org/results", "org/results"
PARQUET = b"PAR1" + bytes(range(256)) * 8 + b"PAR1"
FILES = {"README.md": b"---\nlicense: mit\n---\n", "results/a.json": b'{"score": 1}', "data/x.parquet": PARQUET}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the environment would say to a client in its own process: online, without Xet, a cache of its own."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def server() -> Iterator[Server]:
    """A hub with one dataset repository."""
    with serve(TOKENS) as running:
        running.add_repo(KEY, FILES)
        yield running


@pytest.fixture
def repo(server: Server) -> Repo:
    """That repository as the hub keeps it."""
    return server.repo(KEY)


def client(server: Server, token: str | bool = WRITE) -> HfApi:
    return HfApi(endpoint=server.url, token=token)


def commit(api: HfApi, content: bytes = b"new", path: str = "new.json", **options: Any) -> Any:
    """One file by the client's own call."""
    operations = [CommitOperationAdd(path, content)]
    return api.create_commit(NAME, operations, commit_message="Add", repo_type="dataset", **options)


def http() -> ModuleType:
    """The HTTP library of the client that is installed, for its exceptions."""
    return sys.modules[type(huggingface_hub.utils.get_session()).__module__.partition(".")[0]]


def status_of(raised: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return int(raised.value.response.status_code)


def raw(server: Server, request: str) -> bytes:
    """What comes back for a request line exactly as written, which no client library would send."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def in_a_process(server: Server, home: Path, token: str, script: str, *arguments: str) -> str:
    """What a script prints in a fresh interpreter, where the clients take their settings from the environment."""
    command, environment = [sys.executable, "-c", script, *arguments], server.environment(home, token)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_create_a_repository(server: Server) -> None:
    """A new repository has its first commit, and creating it again is a 409 that exist_ok takes for an answer."""
    api = client(server)
    url = api.create_repo("org/new", repo_type="dataset", private=True)
    assert (url.repo_id, url.repo_type) == ("org/new", "dataset")
    assert api.create_repo("org/new", repo_type="dataset", exist_ok=True) == url
    with pytest.raises(HfHubHTTPError) as raised:
        api.create_repo("org/new", repo_type="dataset")
    assert status_of(raised) == 409
    info = api.repo_info("org/new", repo_type="dataset")
    assert info.private
    assert info.sha == server.repo("datasets/org/new").head
    assert api.whoami()["name"] == "tester"


def test_upload_of_regular_and_large_files(server: Server, repo: Repo, tmp_path: Path) -> None:
    """A folder becomes one commit: by .gitattributes or by size as LFS, and all else within the commit itself."""
    (tmp_path / "deep/er").mkdir(parents=True)
    for name, content in {"a.json": b"{}", "deep/er/y.parquet": PARQUET[::-1], "big.json": b"x" * (BIG + 1)}.items():
        (tmp_path / name).write_bytes(content)
    done = client(server).upload_folder(repo_id=NAME, repo_type="dataset", folder_path=tmp_path, path_in_repo="up")
    assert done.oid == repo.head
    assert len(repo.commits) == 2
    assert server.count("PUT /lfs/") == server.count("/lfs-verify") == 2
    files = repo.files()
    assert files["up/a.json"] == b"{}"
    assert files["up/deep/er/y.parquet"] == PARQUET[::-1]
    assert len(files["up/big.json"]) == BIG + 1
    assert files["data/x.parquet"] == PARQUET
    assert [repo.at("main").tree[f"up/{n}"].lfs for n in ("a.json", "deep/er/y.parquet", "big.json")] == [0, 1, 1]


def test_upload_by_a_process_of_its_own(server: Server, repo: Repo, tmp_path: Path) -> None:
    """A client that gets everything from its environment uploads a folder, LFS files too, without Xet."""
    (tmp_path / "up").mkdir()
    (tmp_path / "up/y.parquet").write_bytes(PARQUET[::-1])
    upload = f"HfApi().upload_folder(repo_id='{NAME}', folder_path=sys.argv[1], repo_type='dataset')"
    script = f"import sys; from huggingface_hub import HfApi; print({upload}.oid)"
    assert in_a_process(server, tmp_path / "home", WRITE, script, str(tmp_path / "up")) == repo.head
    assert repo.files()["y.parquet"] == PARQUET[::-1]
    assert server.count("xet") == 0


def test_what_has_not_changed_is_not_sent_again(server: Server, repo: Repo) -> None:
    """The same content makes no commit, and LFS content that the hub has is committed without an upload."""
    api = client(server)
    before = repo.head
    assert commit(api, FILES["results/a.json"], "results/a.json").oid == before
    assert commit(api, PARQUET, "data/x.parquet").oid == before
    commit(api, PARQUET, "data/same.parquet")
    assert server.count("PUT /lfs/") == 0
    assert repo.files()["data/same.parquet"] == PARQUET


def test_ignored_files_stay_away(server: Server, repo: Repo) -> None:
    """What the repository's .gitignore names is not committed."""
    server.commit(KEY, {".gitignore": b"*.tmp\n"})
    api = client(server)
    operations = [CommitOperationAdd("a.tmp", b"1"), CommitOperationAdd("b.txt", b"2")]
    api.create_commit(NAME, operations, commit_message="Add", repo_type="dataset")
    assert "b.txt" in repo.files()
    assert "a.tmp" not in repo.files()


def test_deleting(server: Server, repo: Repo) -> None:
    """Files and folders go, older commits keep them, and deleting what is not there is refused."""
    api, before = client(server), repo.head
    operations = [CommitOperationDelete("results/"), CommitOperationDelete("data/x.parquet")]
    api.create_commit(NAME, operations, commit_message="Remove", repo_type="dataset")
    assert set(repo.files()) == {"README.md"}
    assert repo.files(before) == FILES
    with pytest.raises(EntryNotFoundError):
        api.delete_file("nowhere.json", NAME, repo_type="dataset")


def test_parent_that_is_no_longer_the_head(server: Server, repo: Repo) -> None:
    """A commit made for an older head is refused with 412, and nothing of it is kept."""
    first = repo.head
    pushed = server.commit(KEY, {"other.json": b"theirs"})
    with pytest.raises(HfHubHTTPError) as raised:
        commit(client(server), parent_commit=first)
    assert status_of(raised) == 412
    assert repo.head == pushed.oid
    assert commit(client(server), parent_commit=pushed.oid).oid == repo.head
    assert [c.parent for c in repo.commits] == [None, first, pushed.oid]


def test_one_of_two_commits_for_the_same_parent_wins(server: Server, repo: Repo) -> None:
    """Of commits at the same time with the same parent exactly one is made."""

    def attempt(number: int) -> int:
        try:
            commit(client(server), b"%d" % number, f"{number}.json", parent_commit=first)
        except HfHubHTTPError as error:
            return error.response.status_code
        return 200

    first = repo.head
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4))) == [200, 412, 412, 412]
    assert len(repo.commits) == 2


def test_another_push_slips_in(server: Server, repo: Repo) -> None:
    """The hook before a commit lets somebody else be first, after the client has done all its looking."""

    def push(key: str) -> None:
        server.before_commit = None
        server.commit(key, {"results/a.json": b"theirs"})

    server.before_commit = push
    with pytest.raises(HfHubHTTPError) as raised:
        commit(client(server), parent_commit=repo.head)
    assert status_of(raised) == 412
    assert repo.files()["results/a.json"] == b"theirs"


def test_snapshots_at_any_revision(server: Server, repo: Repo, tmp_path: Path) -> None:
    """A snapshot has the bytes of its commit, also when newer commits have come."""
    old = repo.head
    server.commit(KEY, {"results/a.json": b"newer", "data/x.parquet": None})
    for revision in (old, "main"):
        place = tmp_path / revision
        options: dict[str, Any] = {"repo_type": "dataset", "revision": revision, "endpoint": server.url, "token": READ}
        snapshot_download(NAME, local_dir=place, **options)
        found = {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}
        assert {k: v for k, v in found.items() if not k.startswith(".cache")} == repo.files(revision)
    cached = Path(snapshot_download(NAME, **options | {"revision": old}))
    assert (cached / "data/x.parquet").read_bytes() == PARQUET
    storage = next(logged for logged in server.requests if str(logged).startswith("GET /lfs/"))
    assert storage.token is None


def test_what_is_not_there(server: Server) -> None:
    """A missing repository, revision and file are three different errors."""
    api = client(server, READ)
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info("org/nothing")
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(NAME, repo_type="dataset", revision="nope")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(NAME, "nope.json", repo_type="dataset")
    assert not api.file_exists(NAME, "nope.json", repo_type="dataset")


def test_lists_come_in_pages(tmp_path: Path) -> None:
    """Trees and commits longer than a page are complete, with each file's last commit where it is asked for."""
    with serve(TOKENS, page=3) as server:
        repo = server.add_repo(KEY, {f"{i % 4}/{i}.json": b"%d" % i for i in range(20)})
        pushed = server.commit(KEY, {"0/0.json": b"new"})
        api = client(server)
        assert api.list_repo_files(NAME, repo_type="dataset") == sorted(repo.files())
        found = {e.path: e for e in api.list_repo_tree(NAME, "0", repo_type="dataset", expand=True)}
        assert set(found) == {f"0/{i}.json" for i in range(0, 20, 4)}
        assert found["0/0.json"].last_commit.oid == pushed.oid
        assert found["0/4.json"].last_commit.oid == pushed.parent
        assert [c.commit_id for c in api.list_repo_commits(NAME, repo_type="dataset")] == [pushed.oid, pushed.parent]
        assert [e.path for e in api.get_paths_info(NAME, ["0", "1/1.json", "x"], repo_type="dataset")] == [
            "0",
            "1/1.json",
        ]


def test_pull_request(server: Server, repo: Repo) -> None:
    """A pull request has commits and a discussion of its own, and main has them after the merge."""
    guest, before = client(server, "hf_guest"), repo.head
    with pytest.raises(HfHubHTTPError) as raised:
        commit(guest)
    assert status_of(raised) == 403
    opened = commit(guest, create_pr=True, parent_commit=before)
    assert (opened.pr_num, opened.pr_revision) == (1, "refs/pr/1")
    commit(guest, PARQUET[::-1], "more.parquet", revision="refs/pr/1")
    assert repo.head == before
    listed = list(guest.get_repo_discussions(NAME, repo_type="dataset", discussion_type="pull_request"))
    assert [(d.num, d.author, d.status, d.is_pull_request) for d in listed] == [(1, "guest", "open", True)]
    shown = guest.get_discussion_details(NAME, 1, repo_type="dataset")
    assert [event.type for event in shown.events] == ["comment", "commit", "commit"]
    refs = guest.list_repo_refs(NAME, repo_type="dataset", include_pull_requests=True)
    assert [(ref.ref, ref.target_commit) for ref in refs.pull_requests] == [("refs/pr/1", repo.branches["refs/pr/1"])]
    client(server).merge_pull_request(NAME, 1, repo_type="dataset")
    assert repo.files() == FILES | {"new.json": b"new", "more.parquet": PARQUET[::-1]}
    assert client(server).get_discussion_details(NAME, 1, repo_type="dataset").status == "merged"


def test_discussions(server: Server, repo: Repo) -> None:
    """Discussions and empty pull requests can be opened, commented on and told apart."""
    api = client(server)
    assert api.create_discussion(NAME, "A question", repo_type="dataset", description="Why?").num == 1
    assert api.create_pull_request(NAME, "A change", repo_type="dataset").status == "draft"
    api.comment_discussion(NAME, 1, "Because", repo_type="dataset")
    api.change_discussion_status(NAME, 1, "closed", repo_type="dataset")
    assert [d.title for d in api.get_repo_discussions(NAME, repo_type="dataset")] == ["A change", "A question"]
    still_open = api.get_repo_discussions(NAME, repo_type="dataset", discussion_status="open")
    assert [d.num for d in still_open] == [2]
    assert [event.type for event in api.get_discussion_details(NAME, 1, repo_type="dataset").events] == [
        "comment",
        "comment",
        "status-change",
    ]
    assert [d.num for d in repo.pull_requests] == [2]


def test_branches_and_tags(server: Server, repo: Repo) -> None:
    """Branches go their own way, and a tag stays where it is."""
    api, first = client(server), repo.head
    api.create_branch(NAME, branch="side", repo_type="dataset")
    api.create_tag(NAME, tag="v1", repo_type="dataset")
    commit(api, revision="side")
    assert repo.head == first
    assert "new.json" in repo.files("side")
    assert api.repo_info(NAME, repo_type="dataset", revision="v1").sha == first


def test_who_may_read_and_write(server: Server) -> None:
    """Private repositories need a known token, and writing needs one with the right to."""
    private = server.add_repo("datasets/org/private", FILES, private=True)
    api = client(server, READ)
    assert api.repo_info("org/private", repo_type="dataset").sha == private.head
    for token in (False, "hf_guest"):
        with pytest.raises(RepositoryNotFoundError):
            client(server, token).repo_info("org/private", repo_type="dataset")
    for token, status in ((False, 401), ("hf_unknown", 401), (READ, 403)):
        with pytest.raises(HfHubHTTPError) as raised:
            commit(client(server, token))
        assert status_of(raised) == status
    assert client(server, False).repo_info(NAME, repo_type="dataset").sha
    with pytest.raises(HfHubHTTPError) as raised:
        client(server, "hf_unknown").repo_info(NAME, repo_type="dataset")
    assert status_of(raised) == 401


def test_a_card_that_cannot_be_read(server: Server, repo: Repo) -> None:
    """The client refuses a README whose metadata the hub finds broken, before it sends anything."""
    with pytest.raises(ValueError, match="does not end"):
        commit(client(server), b"---\nlicense: mit\n", "README.md")
    commit(client(server), b"---\nconfigs:\n- config_name: a\n---\nText: yes\n", "README.md")
    assert len(repo.commits) == 2


def test_file_system(server: Server) -> None:
    """The client's file system lists, finds and reads, also a part of an LFS file."""
    files = HfFileSystem(endpoint=server.url, token=READ, skip_instance_cache=True)
    assert sorted(files.glob(f"{KEY}/**/*.json")) == [f"{KEY}/results/a.json"]
    assert files.cat(f"hf://{KEY}/data/x.parquet") == PARQUET
    with files.open(f"hf://{KEY}/data/x.parquet", block_size=64) as opened:
        opened.seek(1000)
        assert opened.read(10) == PARQUET[1000:1010]


def test_datasets_by_configuration(server: Server, tmp_path: Path) -> None:
    """The datasets library loads the configuration that the card names, at a revision."""
    card = "---\nconfigs:\n" + "".join(f"- config_name: {n}\n  data_files: {n}/*.parquet\n" for n in ("one", "two"))
    tables = {}
    for name in ("one", "two"):
        table = io.BytesIO()
        pd.DataFrame({"name": [name], "score": [0.5]}).to_parquet(table)
        tables[f"{name}/results.parquet"] = table.getvalue()
    repo = server.add_repo("datasets/org/tables", {"README.md": f"{card}---\n".encode()} | tables)
    load = "datasets.load_dataset('org/tables', 'two', revision=sys.argv[1])"
    script = f"import sys, datasets; print({load}['train'].to_list())"
    assert in_a_process(server, tmp_path, READ, script, repo.head) == "[{'name': 'two', 'score': 0.5}]"


@pytest.mark.parametrize("kind", ["401", "403", "409", "412", "429", "500", "503"])
def test_status_faults(server: Server, kind: str) -> None:
    """A status arrives as the client's error with that status, once."""
    server.fail(Fault(kind))
    with pytest.raises(HfHubHTTPError) as raised:
        client(server).repo_info(NAME, repo_type="dataset")
    assert status_of(raised) == int(kind)
    assert server.requests[-1].status == int(kind)
    assert client(server).repo_info(NAME, repo_type="dataset").sha


def test_retry_after(server: Server) -> None:
    """A client that retries by itself waits as the 429 says, and goes on."""
    server.fail(Fault("429", match="/tree/", seconds=0))
    assert client(server).list_repo_files(NAME, repo_type="dataset") == sorted(FILES)
    assert [q.status for q in server.requests if "/tree/" in q.path] == [429, 200]


def test_faults_are_counted_from_now(server: Server) -> None:
    """A fault can wait for the n-th fitting request and can meet several in a row."""
    api = client(server)
    api.repo_info(NAME, repo_type="dataset")
    server.fail(Fault("500", at=2, match="^GET /api/datasets", times=2))
    seen = []
    for _ in range(4):
        api.whoami()
        try:
            api.repo_info(NAME, repo_type="dataset")
            seen.append(200)
        except HfHubHTTPError as error:
            seen.append(error.response.status_code)
    assert seen == [200, 500, 500, 200]


def test_commit_cut_on_its_way_up(server: Server, repo: Repo) -> None:
    """Half a commit is none."""
    server.fail(Fault("cut-up", match="/commit/"))
    with pytest.raises(http().TransportError):
        commit(client(server), b"x" * 100_000)
    assert len(repo.commits) == 1
    assert server.requests[-1].status is None


def test_upload_cut_on_its_way_up(server: Server, repo: Repo) -> None:
    """The client sends an LFS file again when its upload was cut."""
    server.fail(Fault("cut-up", match="PUT /lfs/"))
    commit(client(server), PARQUET * 50, "cut.parquet")
    assert server.count("PUT /lfs/") == 2
    assert repo.files()["cut.parquet"] == PARQUET * 50


def test_download_cut_on_its_way_down(server: Server) -> None:
    """A reset ends a download, and after an orderly end half-way the client asks for the rest."""
    server.fail(Fault("cut-down", match="GET /lfs/"))
    with pytest.raises(http().TransportError):
        client(server).hf_hub_download(NAME, "data/x.parquet", repo_type="dataset")
    server.fail(Fault("cut-down", match="GET /lfs/", reset=False))
    path = client(server).hf_hub_download(NAME, "data/x.parquet", repo_type="dataset")
    assert Path(path).read_bytes() == PARQUET


def test_content_that_does_not_have_its_hash(server: Server, repo: Repo) -> None:
    """A damaged download reaches the caller with the right length; a damaged upload is refused and leaves no commit."""
    server.fail(Fault("wrong-hash", match="GET .*a.json"))
    path = client(server).hf_hub_download(NAME, "results/a.json", repo_type="dataset")
    content = Path(path).read_bytes()
    assert content != FILES["results/a.json"]
    assert len(content) == len(FILES["results/a.json"])
    server.fail(Fault("wrong-hash", match="PUT /lfs/"))
    with pytest.raises(RuntimeError, match="Error while uploading"):
        commit(client(server), PARQUET[::-1], "damaged.parquet")
    assert len(repo.commits) == 1
    commit(client(server), PARQUET[::-1], "damaged.parquet")
    assert repo.files()["damaged.parquet"] == PARQUET[::-1]


def test_stall(server: Server) -> None:
    """A stalled answer comes late, or never for a client that does not wait; the server does not hang on it."""
    api = client(server)
    server.fail(Fault("stall", seconds=0.3), Fault("stall", seconds=60, at=2))
    begin = time.monotonic()
    assert api.repo_info(NAME, repo_type="dataset").sha
    assert time.monotonic() - begin >= 0.3
    with pytest.raises(http().TimeoutException):
        api.repo_info(NAME, repo_type="dataset", timeout=0.2)
    assert server.requests[-1].status is None


def test_lost_answer(server: Server, repo: Repo) -> None:
    """The commit is made, and its author does not learn of it."""
    server.fail(Fault("lost-answer", match="/commit/"))
    with pytest.raises(http().TransportError):
        commit(client(server))
    assert repo.files()["new.json"] == b"new"
    assert repo.commits[-1].title == "Add"
    assert server.requests[-1].status is None


def test_hostile_trees(server: Server, repo: Repo) -> None:
    """A forged tree has any name, size and hash, and what is announced need not be what is sent."""
    names = ["../evil.json", "/abs.json", "results/a/../../x.json"]
    for name in names:
        repo.forge(name, b"evil")
    repo.forge("link.json", symlink="../../outside")
    repo.forge("huge.json", b"x", size=2 << 30)
    repo.forge("other.parquet", b"x", etag="0" * 64, lfs=True)
    found = {e.path: e for e in client(server).list_repo_tree(NAME, repo_type="dataset", recursive=True)}
    assert set(names) <= set(found)
    assert found["huge.json"].size == 2 << 30
    assert found["other.parquet"].lfs.sha256 == "0" * 64
    assert repo.at("main").tree["link.json"].mode == "120000"
    for name in names:
        assert raw(server, f"GET /{KEY}/resolve/main/{name}").endswith(b"\r\n\r\nevil")
    head, _, body = raw(server, f"GET /{KEY}/resolve/main/huge.json").partition(b"\r\n\r\n")
    assert b"Content-Length: 2147483648" in head
    assert body == b"x"


@pytest.mark.parametrize("path", ["../evil.json", "/abs.json", "a//b.json", ".git/config"])
def test_paths_that_git_does_not_take(server: Server, repo: Repo, path: str) -> None:
    """A commit with a path that leaves the repository is refused, whatever client sent it."""
    operation = CommitOperationAdd("harmless.json", b"x")
    operation.path_in_repo = path
    with pytest.raises(HfHubHTTPError) as raised:
        client(server).create_commit(NAME, [operation], commit_message="Add", repo_type="dataset")
    assert status_of(raised) == 400
    assert len(repo.commits) == 1
