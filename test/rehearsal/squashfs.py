#!/usr/bin/python3
"""usage: squashfs.py BACKING MOUNTPOINT

An NFS export with root_squash, as far as permissions go, for kernels without NFS: each operation on MOUNTPOINT is done on
BACKING by the caller's own uid, gid and groups, and by nobody (65534) where the caller is root. So root can neither
chown nor read what only 999 may read, and what root makes belongs to nobody. Locks are those of the local kernel.
"""
import errno
import os
import sys
import time

from fusepy import FUSE, Operations, fuse_get_context

NOBODY = 65534
NO_CHANGE = 0xFFFFFFFF  # how "leave this id alone" arrives in chown
STAT = ("st_atime", "st_blocks", "st_ctime", "st_gid", "st_mode", "st_mtime", "st_nlink", "st_size", "st_uid")
STATFS = ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_flag", "f_frsize", "f_namemax")


def groups_of(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("Groups:"):
                    return [int(group) for group in line.split()[1:]]
    except OSError:
        pass  # it has ended since
    return []


class Squashed(Operations):
    def __init__(self, backing):
        self.backing = backing
        self.identity = (0, 0, [])
        self.groups = {}  # pid -> (time, groups): asked once for what a process does in a row

    def __call__(self, operation, *args):
        """fusepy calls every operation through here; each is done on behalf of its caller."""
        # An open file answers to whoever holds it.
        if operation not in ("init", "destroy", "read", "write", "release", "fsync"):
            self.become(*fuse_get_context())
        return getattr(self, operation)(*args)

    def become(self, uid, gid, pid):
        identity = (NOBODY, NOBODY, []) if uid == 0 else (uid, gid, self.groups_of(pid))
        if identity == self.identity:
            return
        os.seteuid(0)
        os.setgroups(identity[2])
        os.setegid(identity[1])
        os.seteuid(identity[0])
        self.identity = identity

    def groups_of(self, pid):
        now = time.monotonic()
        asked, groups = self.groups.get(pid, (0, None))
        if groups is None or now - asked > 0.2:
            groups = groups_of(pid)
            if len(self.groups) > 1000:
                self.groups.clear()
            self.groups[pid] = (now, groups)
        return groups

    # "Not implemented", once said, spares the kernel and us thousands of calls: it asks no more.
    def getxattr(self, path, name, position=0):
        raise OSError(errno.ENOSYS, "no extended attributes")

    def flush(self, path, fh):
        raise OSError(errno.ENOSYS, "nothing to do when a file is closed")

    def init(self, path):
        pass

    def destroy(self, path):
        pass

    # A handle is preferred to the name: the file may be removed already, or its mode may lock its owner out.
    def getattr(self, path, fh=None):
        found = os.lstat(self.backing + path) if fh is None else os.fstat(fh)
        return {name: getattr(found, name) for name in STAT}

    def access(self, path, mode):
        if not os.access(self.backing + path, mode, effective_ids=True):
            raise PermissionError(13, "permission denied")

    def statfs(self, path):
        found = os.statvfs(self.backing + path)
        return {name: getattr(found, name) for name in STATFS}

    def opendir(self, path):
        return os.open(self.backing + path, os.O_RDONLY | os.O_DIRECTORY)

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(fh)]

    def fsyncdir(self, path, datasync, fh):
        os.fsync(fh)

    def releasedir(self, path, fh):
        os.close(fh)

    def mkdir(self, path, mode):
        os.mkdir(self.backing + path, mode)

    def rmdir(self, path):
        os.rmdir(self.backing + path)

    def mknod(self, path, mode, device):
        os.mknod(self.backing + path, mode, device)

    def unlink(self, path):
        os.unlink(self.backing + path)

    # fusepy names the new path first.
    def symlink(self, path, target):
        os.symlink(target, self.backing + path)

    def link(self, path, existing):
        os.link(self.backing + existing, self.backing + path)

    def readlink(self, path):
        return os.readlink(self.backing + path)

    def rename(self, path, new):
        os.rename(self.backing + path, self.backing + new)

    def chmod(self, path, mode):
        os.chmod(self.backing + path, mode)

    def chown(self, path, uid, gid):
        os.lchown(self.backing + path, *(-1 if i in (NO_CHANGE, -1) else i for i in (uid, gid)))

    def utimens(self, path, times=None):
        os.utime(self.backing + path, times, follow_symlinks=False)

    def create(self, path, mode, fi=None):
        return os.open(self.backing + path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path, flags):
        return os.open(self.backing + path, flags & ~(os.O_CREAT | os.O_EXCL | os.O_DIRECT))

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        os.truncate(self.backing + path if fh is None else fh, length)

    def fsync(self, path, datasync, fh):
        os.fsync(fh)

    def release(self, path, fh):
        os.close(fh)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    os.umask(0)  # the caller's has been applied already
    # One thread, because the ids that it takes on are the process's. Attributes are kept for less time than a pod takes
    # to start, since tests change files from the other side.
    FUSE(Squashed(os.path.realpath(sys.argv[1])), sys.argv[2], foreground=True, nothreads=True, allow_other=True,
         big_writes=True, attr_timeout=0.1, entry_timeout=0.1, fsname="squashed")
