"""The Elasticsearch that the tests run: fetched from Maven Central once, checked, and kept unpacked in `.cache/elasticsearch`.

Owns: the versions and their checksums, the cache, and which JDK suits. It starts nothing (`tests.elasticsearch_server` does),
and never falls back on something else: whatever is missing is said in an `ElasticsearchMissing`, with the way to get it.

`python -m tests.elasticsearch_distribution` fills the cache.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "8.19.16"
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "elasticsearch"
ARTIFACT = "org.elasticsearch.distribution.integ-test-zip:elasticsearch"
SHA256 = {
    "8.19.16": "c3d95992e27741b33a8057118379cda8b17cfda9e46ff4ec25e3f5b94fc22b52",
    "9.4.3": "adde840e7013d25cf04203377abf77ad66573bc5db381e5b865c18ef5d683bc5",
}
"""Known versions; any other has only the checksum that Maven fetches and verifies (`-C`)."""
LEAST_JAVA = {8: 17, 9: 21}


class ElasticsearchMissing(RuntimeError):
    """No Elasticsearch can be started here; the message says what is missing and how to get it."""


def distribution(version: str = VERSION) -> Path:
    """The unpacked server in the cache; fetched with Maven, checked and unpacked on first use."""
    home = CACHE / f"elasticsearch-{version}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several runs may start at once on a fresh clone
        if home.is_dir():
            return home
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            archive = _fetch(version, Path(scratch))
            _unpack(archive, Path(scratch))
            (Path(scratch) / home.name).rename(home)
    return home


def _fetch(version: str, folder: Path) -> Path:
    maven = shutil.which("mvn")
    if not maven:
        raise ElasticsearchMissing(
            "Maven is missing: it fetches the Elasticsearch that the tests talk to. Install it (Debian, Ubuntu: "
            "apt-get install maven), or set FOREWARN_TEST_ES=http://host:port to use a server that is already there."
        )
    artifact = f"{ARTIFACT}:{version}:zip"
    java = os.environ | {"JAVA_HOME": str(java_home(version))}
    command = [maven, "-B", "-q", "-C", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, cwd=folder, env=java, capture_output=True, text=True, check=False)
    archive = folder / f"elasticsearch-{version}.zip"
    if done.returncode or not archive.is_file():
        end = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise ElasticsearchMissing(f"Maven could not fetch {artifact} (is Maven Central reachable?):\n{end}")
    with archive.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if SHA256.get(version, digest) != digest:
        raise ElasticsearchMissing(f"{archive.name} has sha256 {digest}, expected {SHA256[version]}: it was not unpacked.")
    return archive


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        for member in content.infolist():
            path = Path(content.extract(member, folder))
            # Everybody may read it: the server runs as another account than the one that unpacked it.
            path.chmod(0o755 if member.is_dir() or (member.external_attr >> 16) & 0o100 else 0o644)


def java_home(version: str = VERSION) -> Path:
    """The JDK that suits the server best: the oldest one that is new enough, from JAVA_HOME, PATH or the usual folders."""
    least = LEAST_JAVA.get(int(version.partition(".")[0]), 21)
    candidates = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    if java := shutil.which("java"):
        candidates.append(Path(java).resolve().parent.parent)
    candidates += sorted(
        path for pattern in ("java-*", "jdk-*", "temurin-*", "*") for path in Path("/usr/lib/jvm").glob(pattern)
    )
    found = {home: _java_major(home) for home in candidates}
    suitable = [(major, order, home) for order, (home, major) in enumerate(found.items()) if major and major >= least]
    if suitable:
        return min(suitable)[2]
    seen = ", ".join(f"{home} (Java {major})" for home, major in found.items() if major) or "none"
    raise ElasticsearchMissing(
        f"Java {least} or newer is missing: Elasticsearch {version} runs on it. Found: {seen}. Install a JDK (Debian, Ubuntu: "
        f"apt-get install openjdk-{least}-jdk-headless) or point JAVA_HOME to one."
    )


def _java_major(home: Path) -> int | None:
    try:
        match = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', (home / "release").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match.group(1)) if match and os.access(home / "bin" / "java", os.X_OK) else None


def main() -> None:
    """Makes sure that the server is in the cache; ends with a message when it cannot be had."""
    try:
        distribution()
    except ElasticsearchMissing as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
