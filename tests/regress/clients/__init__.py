"""The SFTP clients that partners use, each behind the same few verbs, so that one test asks all of them the same.

base.py says what the verbs are; programs.py has those that are programs, libraries.py those that are libraries.
"""
from clients.base import Client, digests, drop, half, tree, usable
from clients.libraries import Asyncssh, NodeSftp, Paramiko
from clients.programs import Curl, Lftp, OpenSsh, Psftp, Rclone, Sshfs

CLIENTS = [OpenSsh, Psftp, Lftp, Rclone, Sshfs, Curl, Paramiko, Asyncssh, NodeSftp]

__all__ = ["CLIENTS", "Client", "digests", "drop", "half", "tree", "usable", *[kind.__name__ for kind in CLIENTS]]
