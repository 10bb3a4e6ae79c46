"""The hub's HTTP interface as its clients use it: a request in, an answer out, with no sockets here."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable, Mapping
from math import prod
from threading import RLock
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import yaml

from tests.fakes.hub_faults import damaged
from tests.fakes.hub_messages import (
    ROLES,
    Answer,
    Request,
    Token,
    as_json,
    details,
    listing,
    ranged,
    refused,
    sibling,
    summary,
)
from tests.fakes.hub_store import (
    ATTRIBUTES,
    Changes,
    Commit,
    Discussion,
    File,
    Refusal,
    Repo,
    comment,
    make_file,
    matches,
)

KINDS = ("datasets", "models", "spaces")


KEEP_OUT = ("", ".", "..", ".git")


class Hub:
    """All repositories and tokens, and what is done for each request."""

    def __init__(self, tokens: Mapping[str, Token], page: int) -> None:
        self.tokens, self.page = tokens, page
        self.repos: dict[str, Repo] = {}
        self.lock = RLock()
        self.url = self.storage = ""  # known when the server listens
        self.secret = b"of this server's links"
        self.before_commit: Callable[[str], None] | None = None

    def answer(self, request: Request) -> Answer:
        """Do what a request asks. A refusal becomes the hub's error answer."""
        try:
            request.token = self.who(request)
            return self.route(request)
        except Refusal as refusal:
            return refused(refusal)

    def who(self, request: Request) -> Token | None:
        """The token of a request; one that is not known is refused even where none is needed."""
        given = request.headers.get("authorization")
        if given is None or request.path.startswith("/lfs/"):
            return None
        token = self.tokens.get(given.removeprefix("Bearer ").strip())
        if token is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return token

    def route(self, request: Request) -> Answer:
        """Find who answers: the storage of LFS files, the interface, or the files of a repository."""
        parts = request.path.removeprefix("/").split("/")
        if parts[0] == "lfs":
            return self.stored(request, parts[1:])
        if parts[0] != "api":
            kind = parts.pop(0) if parts[0] in KINDS else "models"
            return self.web(request, kind, parts)
        if parts[1] in KINDS and len(parts) >= 4:
            return self.api(request, self.find(request, parts[1], parts[2:4]), parts[4:])
        done = {
            "GET whoami-v2": self.whoami,
            "POST validate-yaml": validate_yaml,
            "POST repos/create": self.create,
            "DELETE repos/delete": self.delete,
        }.get(f"{request.method} {'/'.join(parts[1:])}")
        if done is None:
            raise Refusal(404, "Not found")
        return done(request)

    def find(self, request: Request, kind: str, name: list[str]) -> Repo:
        """A repository that this request may see. Without a token, one that is not there looks like a private one."""
        repo = self.repos.get("/".join([kind, *map(unquote, name)]))
        hidden = repo is not None and repo.private and (request.token is None or request.token.role == "contribute")
        if repo is not None and not hidden:
            return repo
        if request.token is None:
            raise Refusal(401, "Invalid username or password.", "RepoNotFound")
        raise Refusal(404, "Repository not found", "RepoNotFound")

    def allow(self, request: Request, role: str) -> None:
        """Refuse unless the token is good for this."""
        if request.token is None:
            raise Refusal(401, "Invalid username or password.")
        if ROLES.index(request.token.role) < ROLES.index(role):
            raise Refusal(403, "Forbidden: this token does not have the rights to write here")

    def role_to_push(self, request: Request, repo: Repo, branch: str) -> str:
        """What a commit here needs: anybody may propose, and add to a pull request of their own."""
        number = branch.removeprefix("refs/pr/")
        own = number != branch and repo.discussion(int(number)).author == request.author
        return "contribute" if own or request.flag("create_pr") else "write"

    def page_url(self, repo: Repo) -> str:
        """Where a browser would find a repository."""
        return f"{self.url}/{repo.name if repo.kind == 'models' else repo.key}"

    # what is not about one repository

    def whoami(self, request: Request) -> Answer:
        self.allow(request, "read")
        role = "read" if request.token and request.token.role == "read" else "write"
        access = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
        return as_json({"type": "user", "id": "1", "name": request.author, "orgs": [], "auth": access})

    def create(self, request: Request) -> Answer:
        self.allow(request, "write")
        asked = request.json()
        name = f"{asked.get('organization') or request.author}/{asked['name']}"
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        repo = Repo(f"{asked.get('type') or 'model'}s", name, private)
        with self.lock:
            if repo.key in self.repos:
                told = f"You already created this {repo.kind[:-1]} repo"
                return as_json({"error": told, "url": self.page_url(repo)}, 409, X_Error_Message=told)
            first = Changes({".gitattributes": make_file(ATTRIBUTES, lfs=False)})
            repo.commit(first, "initial commit", author=request.author)
            self.repos[repo.key] = repo
        return as_json({"url": self.page_url(repo), "name": name, "id": "1"})

    def delete(self, request: Request) -> Answer:
        asked = request.json()
        name = f"{asked.get('organization') or request.author}/{asked['name']}"
        repo = self.find(request, f"{asked.get('type') or 'model'}s", name.split("/"))
        self.allow(request, "write")
        del self.repos[repo.key]
        return as_json({"success": True})

    # one repository's files

    def web(self, request: Request, kind: str, parts: list[str]) -> Answer:
        """What has no /api in front: files, and the batch call of LFS."""
        if len(parts) < 3 or (parts[2] != "resolve" and not parts[1].endswith(".git")):
            raise Refusal(404, "Not found")
        repo = self.find(request, kind, [parts[0], parts[1].removesuffix(".git")])
        if parts[1].endswith(".git"):
            return self.batch(request, repo)
        if repo.gated:
            raise Refusal(403, f"Access to model {repo.name} is restricted", "GatedRepo")
        revision, path = split_revision(parts[3:])
        return self.resolve(request, repo, repo.at(revision), path)

    def resolve(self, request: Request, repo: Repo, commit: Commit, path: str) -> Answer:
        """A file's content, or for LFS where the storage has it."""
        file = commit.tree.get(path)
        if file is None:
            refusal = refused(Refusal(404, "Entry not found", "EntryNotFound"))
            refusal.headers["X-Repo-Commit"] = commit.oid
            return refusal
        headers = {"ETag": f'"{file.etag}"', "X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Answer(304, b"", headers)
        if not file.lfs:
            return ranged(request, file, headers)
        headers |= {"X-Linked-ETag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
        query = urlencode({"commit": commit.oid, "path": path, "sign": self.sign("GET", repo.key, file.etag)})
        headers["Location"] = f"{self.storage}/lfs/{repo.key}/{file.etag}?{query}"
        return Answer(302, b"", headers)

    def sign(self, *words: str) -> str:
        """What makes a link to the storage good without a token, as the hub's links to its storage are."""
        return hmac.new(self.secret, "\n".join(words).encode(), hashlib.sha256).hexdigest()

    def stored(self, request: Request, parts: list[str]) -> Answer:
        """The storage of LFS files: links lead here, and nobody is asked for a token."""
        key, oid = "/".join(parts[:3]), parts[3]
        action = "PUT" if request.method == "PUT" else "GET"
        repo = self.repos.get(key)
        if repo is None or not hmac.compare_digest(request.option("sign") or "", self.sign(action, key, oid)):
            raise Refusal(403, "AccessDenied")
        if action == "GET":
            file = repo.at(request.option("commit") or "").tree[request.option("path") or ""]
            return ranged(request, file, {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"})
        content = damaged(request.body) if request.damage else request.body
        if not request.damage and hashlib.sha256(content).hexdigest() != oid:
            raise Refusal(400, "The content does not have the hash in its name")
        repo.objects[oid] = content
        return Answer(200, b"", {"ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'})

    def batch(self, request: Request, repo: Repo) -> Answer:
        """Where to send LFS files that the repository does not have yet. Only the basic transfer is offered."""
        asked = request.json()
        branch = asked.get("ref", {}).get("name")
        self.allow(request, self.role_to_push(request, repo, branch) if branch else "contribute")
        objects = []
        for wanted in asked["objects"]:
            oid, sign = wanted["oid"], self.sign("PUT", repo.key, wanted["oid"])
            upload = {"href": f"{self.storage}/lfs/{repo.key}/{oid}?sign={sign}"}
            verify = {"href": f"{self.url}/api/{repo.key}/lfs-verify"}
            known = oid in repo.objects
            objects.append({"oid": oid, "size": wanted["size"]})
            objects[-1] |= {} if known else {"actions": {"upload": upload, "verify": verify}}
        return as_json({"transfer": "basic", "objects": objects})

    def verify(self, request: Request, repo: Repo) -> Answer:
        """Whether what came is what was announced; what is not is forgotten, so that it can be sent again."""
        asked = request.json()
        content = repo.objects.get(asked["oid"])
        if (
            content is not None
            and len(content) == asked["size"]
            and hashlib.sha256(content).hexdigest() == asked["oid"]
        ):
            return as_json({"message": "Verified"})
        repo.objects.pop(asked["oid"], None)
        raise Refusal(422, "The uploaded content does not have the announced size and hash")

    # one repository's interface

    def api(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        """The calls about one repository."""
        what = rest[0] if rest else ""
        reading: dict[str, Callable[[Request, Repo, list[str]], Answer]] = {
            "GET ": self.info,
            "GET revision": self.info,
            "GET tree": self.tree,
            "GET refs": self.refs,
            "GET commits": self.commits,
            "POST paths-info": self.paths_info,
            "GET discussions": self.discussions,
            "POST discussions": self.discuss,
            "POST preupload": self.preupload,
            "POST commit": self.commit,
            "POST lfs-verify": lambda r, p, _: self.verify(r, p),
            "POST branch": self.branch,
            "DELETE branch": self.branch,
            "POST tag": self.tag,
        }
        done = reading.get(f"{request.method} {what}")
        if done is None:
            raise Refusal(404, "Not found")
        return done(request, repo, rest[1:])

    def info(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        commit = repo.at(split_revision(rest)[0])
        blobs = request.flag("blobs")
        about = {
            "_id": "1",
            "id": repo.name,
            "author": repo.name.split("/")[0],
            "sha": commit.oid,
            "createdAt": repo.created,
            "lastModified": repo.history("main")[0].date,
            "private": repo.private,
            "gated": repo.gated,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [sibling(path, file, blobs) for path, file in sorted(commit.tree.items())],
        }
        if repo.kind == "models":
            about |= {"modelId": repo.name, "cardData": card_data(commit), "safetensors": weights(commit)}
        expand = request.query.get("expand")
        return as_json({k: v for k, v in about.items() if not expand or k in ("_id", "id", *expand)})

    def tree(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        revision, below = split_revision(rest)
        commit = repo.at(revision)
        entries = listing(repo, commit, below.rstrip("/"), request.flag("recursive"), request.flag("expand"))
        if not entries and below:
            raise Refusal(404, f"{below} does not exist on {revision}", "EntryNotFound")
        return self.paged(request, entries, min(self.page, 50) if request.flag("expand") else self.page)

    def paged(self, request: Request, entries: list[dict[str, Any]], size: int) -> Answer:
        """One page of a list, with a link to the next."""
        start = int(request.option("cursor") or 0)
        answer = as_json(entries[start : start + size])
        if start + size < len(entries):
            query = urlencode(request.query | {"cursor": [str(start + size)]}, doseq=True)
            answer.headers["Link"] = f'<{self.url}{request.path}?{query}>; rel="next"'
        return answer

    def refs(self, request: Request, repo: Repo, _: list[str]) -> Answer:
        found: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": []}
        if request.flag("include_prs"):
            found["pullRequests"] = []
        for name, oid in repo.branches.items():
            if not name.startswith("refs/pr/"):
                found["branches"].append({"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid})
            elif "pullRequests" in found:
                found["pullRequests"].append({"name": name[5:], "ref": name, "targetCommit": oid})
        found["tags"] = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": o} for n, o in repo.tags.items()]
        return as_json(found)

    def commits(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        told = [
            {"id": c.oid, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": c.author}]}
            for c in repo.history(split_revision(rest)[0])
        ]
        return self.paged(request, told, min(self.page, 50))

    def paths_info(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        commit = repo.at(split_revision(rest)[0])
        if "json" in request.headers.get("content-type", ""):
            paths, expand = request.json()["paths"], bool(request.json().get("expand"))
        else:
            form = parse_qs(request.body.decode())
            paths, expand = form.get("paths", []), form.get("expand", [""])[0].lower() == "true"
        known = {entry["path"]: entry for entry in listing(repo, commit, "", deep=True, expand=expand)}
        return as_json([known[path] for path in paths if path in known])

    def preupload(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        """How each file is to be sent, and the hash of the one now there, so that clients skip what has not changed."""
        revision = split_revision(rest)[0]
        self.allow(request, self.role_to_push(request, repo, revision))
        commit, asked = repo.at(revision), request.json()
        own = commit.tree.get(".gitignore")
        ignore = (asked.get("gitIgnore") or (own.content.decode() if own else "")).splitlines()
        files = []
        for wanted in asked["files"]:
            path = wanted["path"]
            lfs = repo.stored_as_lfs(path, wanted["size"], revision)
            told = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": matches(ignore, path)}
            files.append(told | ({"oid": commit.tree[path].etag} if path in commit.tree else {}))
        return as_json({"files": files, "commitOid": commit.oid})

    def commit(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        """Add a commit, or a pull request with one. Nothing of it is there before all of it is."""
        revision, proposal = split_revision(rest)[0], request.flag("create_pr")
        self.allow(request, self.role_to_push(request, repo, revision))
        header, changes = read_commit(request.body, repo)
        if self.before_commit is not None:
            self.before_commit(repo.key)
        title, text, parent = header["summary"], header.get("description", ""), header.get("parentCommit")
        who = request.author
        if proposal:
            made, opened = repo.propose(changes, title, base=revision, parent=parent, message=text, author=who)
        else:
            made = repo.push(changes, title, branch=revision, parent=parent, message=text, author=who)
        told = {"success": True, "commitOid": made.oid, "hookOutput": ""}
        told["commitUrl"] = f"{self.page_url(repo)}/commit/{made.oid}"
        if proposal:
            told["pullRequestUrl"] = f"{self.page_url(repo)}/discussions/{opened.num}"
        return as_json(told)

    def branch(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        self.allow(request, "write")
        name = unquote("/".join(rest))
        with repo.lock:
            if request.method == "DELETE":
                if name == "main" or repo.branches.pop(name, None) is None:
                    raise Refusal(404, "This branch cannot be deleted", "RevisionNotFound")
            elif name in repo.branches:
                raise Refusal(409, "Reference already exists")
            elif name.startswith("refs/"):
                raise Refusal(400, "Invalid reference for a branch")
            else:
                repo.branches[name] = repo.at(request.json().get("startingPoint") or "main").oid
        return as_json({"success": True})

    def tag(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        self.allow(request, "write")
        name = request.json()["tag"]
        if name in repo.tags:
            raise Refusal(409, "Tag reference exists already")
        repo.tags[name] = repo.at(split_revision(rest)[0]).oid
        return as_json({"success": True})

    # discussions

    def discussions(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        if rest:
            return as_json(details(repo, repo.discussion(int(rest[0]))))
        found = [d for d in reversed(repo.discussions) if wanted(request, d)]
        start = int(request.option("p") or 0) * self.page
        told = [summary(repo, d) for d in found[start : start + self.page]]
        return as_json({"discussions": told, "count": len(found), "start": start, "numClosedDiscussions": 0})

    def discuss(self, request: Request, repo: Repo, rest: list[str]) -> Answer:
        """Open a discussion or a pull request, or add to one."""
        self.allow(request, "contribute")
        asked, who = request.json(), request.author
        if not rest:
            base = "main" if asked.get("pullRequest") else None
            text = asked.get("description", "")
            opened = repo.open_discussion(asked["title"], who, text, base=base, draft=base is not None)
            return as_json({"num": opened.num, "pullRequest": base is not None})
        opened, verb = repo.discussion(int(rest[0])), rest[1] if len(rest) > 1 else ""
        if verb == "comment":
            repo.tell(opened, "comment", who, comment(asked["comment"], who))
        elif verb == "status":
            if opened.author != who:
                self.allow(request, "write")
            opened.status = asked["status"]
            repo.tell(opened, "status-change", who, {"status": opened.status})
        elif verb == "merge":
            self.allow(request, "write")
            repo.merge(opened.num, who)
        else:
            raise Refusal(404, "Not found")
        return as_json(dict.fromkeys(("newMessage", "newStatus", "event"), opened.events[-1]))


def card_data(commit: Commit) -> dict[str, Any] | None:
    """Return the front matter of a README, empty without one."""
    readme = commit.tree.get("README.md")
    parts = readme.content.decode().split("---\n") if readme else []
    return yaml.safe_load(parts[1]) if len(parts) > 2 and not parts[0] else None


def weights(commit: Commit) -> dict[str, Any] | None:
    """Return the number of parameters by type in the headers of safetensors files, None without such files."""
    headers = []
    for path, file in commit.tree.items():
        size = int.from_bytes(file.content[:8], "little")
        if path.endswith(".safetensors") and size < len(file.content):
            headers.append(json.loads(file.content[8 : 8 + size]))
    tensors = [tensor for header in headers for name, tensor in header.items() if name != "__metadata__"]
    counts: Counter[str] = Counter()
    for tensor in tensors:
        counts[tensor["dtype"]] += prod(tensor["shape"])
    return {"parameters": counts, "total": sum(counts.values())} if tensors else None


def split_revision(parts: list[str]) -> tuple[str, str]:
    """A revision and the path after it. Some clients escape the slashes of refs/pr/1, and some do not."""
    if parts and parts[0] == "refs" and len(parts) >= 3:
        return "/".join(parts[:3]), unquote("/".join(parts[3:]))
    return unquote(parts[0]) if parts and parts[0] else "main", unquote("/".join(parts[1:]))


def read_commit(body: bytes, repo: Repo) -> tuple[dict[str, Any], Changes]:
    """The header and the changes of a commit's lines. An LFS file must have been sent before."""
    header: dict[str, Any] = {}
    changes = Changes()
    try:
        for line in body.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                header = value
            elif key == "file":
                changes.files[sound(value["path"])] = make_file(base64.b64decode(value["content"]), lfs=False)
            elif key == "lfsFile":
                changes.files[sound(value["path"])] = sent_file(repo, value["oid"])
            elif key in ("deletedFile", "deletedFolder"):
                path = sound(value["path"].rstrip("/"))
                changes.deleted.append(f"{path}/" if key == "deletedFolder" else path)
            else:
                raise Refusal(400, f"Unknown operation {key}")
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise Refusal(400, f"The commit cannot be read: {error}") from error
    if not header.get("summary"):
        raise Refusal(400, "A commit needs a summary")
    return header, changes


def sound(path: str) -> str:
    """A path that git takes, or a refusal."""
    if any(part in KEEP_OUT for part in path.split("/")):
        raise Refusal(400, f"Invalid path: {path}")
    return path


def sent_file(repo: Repo, oid: str) -> File:
    """An LFS file by its hash, which must be that of what was sent."""
    content = repo.objects.get(oid)
    if content is None or hashlib.sha256(content).hexdigest() != oid:
        raise Refusal(400, f"LFS pointer pointed to a file that does not exist: {oid}")
    return make_file(content, lfs=True)


def wanted(request: Request, discussion: Discussion) -> bool:
    """Whether a discussion fits the query of a list."""
    kind, status, author = request.option("type"), request.option("status"), request.option("author")
    is_open = discussion.status in ("open", "draft")
    fits_kind = kind in (None, "all") or (kind == "pull_request") == (discussion.base is not None)
    fits_status = status in (None, "all") or (status == "open") == is_open
    return fits_kind and fits_status and author in (None, discussion.author)


def validate_yaml(request: Request) -> Answer:
    """Whether a card's header can be read: begun and ended, no tabs, and keys with values."""
    lines = request.json().get("content", "").splitlines()
    if not lines or lines[0].strip() != "---":
        return as_json({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
    problem = ""
    if "---" not in [line.strip() for line in lines[1:]]:
        problem = "the metadata block does not end"
    else:
        for line in lines[1 : 1 + [line.strip() for line in lines[1:]].index("---")]:
            plain = line.strip()
            if "\t" in line or (line[:1].strip() and ":" not in line and plain[0] not in "-#"):
                problem = f"bad line in the metadata block: {plain}"
    errors = [{"message": problem}] if problem else []
    return as_json({"errors": errors, "warnings": []}, 400 if problem else 200)
