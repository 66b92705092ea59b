"""PostgreSQL and Redis under a folder: shared by processes, restarted after a crash, stopped by the last to leave."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from config.embedded import broker, postgres
from config.embedded.places import LONGEST_SOCKET_PATH, ServiceError, explain, make_private, socket_folder
from config.embedded.services import Services

ROOT = Path(__file__).resolve().parents[2]
# A process that uses the services until it is told to end.
USER = """
import sys
from pathlib import Path
from config.embedded.services import Services
services = Services(Path(sys.argv[1]))
services.ensure_running()
print((services.postgres.data / "postmaster.pid").read_text().split()[0], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def var() -> Iterator[Path]:
    """A folder for services, which are stopped at the end.

    Not below pytest's own temporary folder, which every start of pytest closes to all but its user: a root's PostgreSQL
    runs as another.
    """
    with tempfile.TemporaryDirectory(prefix="prefloop-test-") as folder:
        yield Path(folder)
        services = Services(Path(folder))
        services.redis.stop()
        services.postgres.stop()


@pytest.fixture
def services(var: Path) -> Iterator[Services]:
    """This process as a user of the services, which run."""
    services = Services(var)
    services.ensure_running()
    yield services
    services.leave()


def use(var: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", USER, str(var)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ask(services: Services, question: str) -> str:
    where = services.database()
    session = psycopg2.connect(host=where["HOST"], port=where["PORT"], user=where["USER"], dbname=where["NAME"])
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute(question)
        answer = str(cursor.fetchone()[0]) if cursor.description else ""
    session.close()
    return answer


def eventually(holds: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def kill(pid_file: Path) -> None:
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)


def test_both_servers_listen_on_sockets_only(services: Services) -> None:
    assert ask(services, "SHOW listen_addresses") == ""
    assert redis.Redis.from_url(services.redis_url()).config_get("port") == {"port": "0"}


@pytest.mark.parametrize(("gigabytes", "megabytes"), [(1, 128), (2, 128), (8, 512), (24, 1024), (512, 1024)])
def test_the_servers_cache_is_a_sixteenth_of_the_memory_within_bounds(gigabytes: int, megabytes: int) -> None:
    assert postgres.buffers(gigabytes * 2**30) == megabytes


def test_the_server_runs_with_that_cache(services: Services) -> None:
    asked = "SELECT setting::int * 8 / 1024 FROM pg_settings WHERE name = 'shared_buffers'"
    assert ask(services, asked) == str(postgres.buffers(psutil.virtual_memory().total))


def test_only_their_owner_enters_their_folders(services: Services, var: Path) -> None:
    modes = {name: stat.S_IMODE((var / name).stat().st_mode) for name in ("postgres", "redis", "services")}
    assert modes == {"postgres": 0o700, "redis": 0o700, "services": 0o700}


def test_servers_killed_outright_come_back_with_their_data(services: Services) -> None:
    ask(services, "CREATE TABLE kept AS SELECT 42 AS number")
    with redis.Redis.from_url(services.redis_url()) as connection:
        connection.set("kept", "42")
        connection.execute_command("BGREWRITEAOF")
        assert eventually(lambda: connection.info()["aof_rewrite_in_progress"] == 0)
    kill(services.postgres.data / "postmaster.pid")
    kill(services.redis.pid_file)
    assert eventually(lambda: not services.postgres.is_running() and not services.redis.is_running())

    restarted: list[str] = []
    services.ensure_running(restarted.append)

    assert restarted == ["PostgreSQL", "Redis"]
    assert ask(services, "SELECT number FROM kept") == "42"
    assert redis.Redis.from_url(services.redis_url()).get("kept") == b"42"
    ask(services, "DROP TABLE kept")


def test_a_pid_file_that_names_another_process_does_not_prevent_the_start(services: Services) -> None:
    pid_file = services.postgres.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    kill(pid_file)
    assert eventually(lambda: not services.postgres.is_running())
    services.redis.stop()
    # PostgreSQL gives way only to a process that it could signal: one of its own user.
    owner = services.postgres.data.stat().st_uid
    other = subprocess.Popen(["sleep", "600"], user=owner if os.getuid() == 0 else None)
    pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
    services.redis.pid_file.write_text(str(other.pid))

    services.ensure_running()
    survived = other.poll() is None
    other.kill()
    other.wait()

    assert ask(services, "SELECT 1") == "1"
    assert survived


def test_a_server_whose_socket_was_deleted_is_replaced(services: Services) -> None:
    before = (services.postgres.data / "postmaster.pid").read_text().split()[0]
    services.postgres.socket.unlink()
    services.redis.socket.unlink()

    services.ensure_running()

    assert (services.postgres.data / "postmaster.pid").read_text().split()[0] != before
    assert redis.Redis.from_url(services.redis_url()).ping()


def test_services_run_until_the_last_user_leaves(var: Path) -> None:
    services, other = Services(var), use(var)
    assert other.stdout is not None
    assert other.stdout.readline().strip().isdigit()
    services.ensure_running()

    services.leave()
    ran_on = services.postgres.is_running() and services.redis.is_running()
    other.communicate()

    assert ran_on
    assert not services.postgres.is_running()
    assert not services.redis.is_running()


def test_a_killed_user_counts_no_more(var: Path) -> None:
    services, other = Services(var), use(var)
    assert other.stdout is not None
    assert other.stdout.readline().strip().isdigit()
    services.ensure_running()
    other.kill()
    other.wait()

    services.leave()

    assert not services.postgres.is_running()


def test_processes_that_start_together_share_one_server(var: Path) -> None:
    users = [use(var / "fresh") for _ in range(3)]
    pids = [user.stdout.readline().strip() for user in users if user.stdout]
    for user in users:
        user.communicate()
    assert pids == [pids[0]] * 3
    assert pids[0].isdigit()
    assert not Services(var / "fresh").postgres.is_running()


def test_a_long_path_keeps_its_sockets_in_a_short_private_folder(tmp_path: Path) -> None:
    data = tmp_path / ("x" * LONGEST_SOCKET_PATH)
    found = socket_folder(data)
    assert len(str(found)) < 40
    assert found == socket_folder(data)
    assert found != socket_folder(data.with_name("y" * LONGEST_SOCKET_PATH))


def test_a_folder_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    with pytest.raises(ServiceError, match="belongs to another user"):
        make_private(tmp_path / "link", owner=os.getuid())


def test_a_machine_without_redis_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker.shutil, "which", lambda name: None)
    with pytest.raises(ServiceError, match="brew install redis"):
        broker._find_program()


def test_a_machine_without_postgres_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "find_spec", lambda name: None)
    with pytest.raises(ServiceError, match="DATABASE_URL"):
        postgres._find_binaries(tmp_path)


def test_data_of_a_version_that_is_not_here_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9\n")
    with pytest.raises(ServiceError, match="was made by PostgreSQL 9"):
        postgres._find_binaries(tmp_path)


def test_a_full_disk_is_named_as_the_reason(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("FATAL: could not write lock file: No space left on device\n")
    assert str(explain("PostgreSQL", tmp_path / "server.log")).startswith("The disk is full")
