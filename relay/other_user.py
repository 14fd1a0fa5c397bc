"""What to do where this user may not use a file: mostly it is the relay's, and somebody calls a command as another user."""

import errno
import grp
import os
import pwd
from pathlib import Path
from shlex import quote

from relay.container import in_container


def nearest(path: Path) -> Path:
    """The path, or what can be seen of the way to it."""
    return next(one for one in (path, *path.absolute().parents) if os.path.exists(one))


def other_user(path: Path, root: Path = Path("/")) -> str:
    """The user whom the file or folder is for, or what can be seen of the way to it; "" if that is us, root or not known.

    Not in a container, which knows no users by name.
    """
    try:
        stat = nearest(path).stat()
        # root:relay with mode 0750 is how a service's settings are kept.
        found = pwd.getpwuid(stat.st_uid) if stat.st_uid else pwd.getpwnam(grp.getgrgid(stat.st_gid).gr_name)
        name, uid = found.pw_name, found.pw_uid
    except KeyError:
        name, uid = str(stat.st_uid), stat.st_uid
    except OSError:
        return ""
    return "" if uid in (0, os.geteuid()) or in_container(root) else name


def as_other_user(path: Path) -> str:
    """What to do about a file that is not for us, as the end of a sentence; "" if it is not known whose it is."""
    user = other_user(path)
    return f", but for {user}; if the relay runs as that user, put `sudo -u {user}` before the command" if user else ""


def place_for(folder: Path, error: OSError, setting: str) -> str:
    """What to do about a folder that could not be made or used, to follow that; `setting` could name another one."""
    us = os.geteuid()
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"; is the directory there, and writable for user {us}? `{setting}` can name another place"
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ""
    if theirs := as_other_user(folder) if os.path.exists(folder) else "":
        return theirs
    if in_container():
        return f"; mount a volume there that is writable for user {us}, or set `{setting}` to another place"
    return f"; make it: sudo install -d -m 700 -o {us} {quote(str(folder))}, or set `{setting}` to a place of your own"
