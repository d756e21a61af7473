//! The unix socket a host dials, for its owner alone, or for one group besides.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use tokio::net::{UnixListener, UnixStream};

/// The longest path that fits into `sockaddr_un.sun_path` with its closing zero, in bytes (unix(7)).
const MAX_PATH_BYTES: usize = 107;

/// Where groups have their names. Read here and not by the C library, which would load a resolver that a static binary
/// cannot have.
const GROUPS: &str = "/etc/group";

/// A listening socket. Dropping it removes its file.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

/// Why no socket could be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The directory is too deep for a unix socket.
    #[error("the socket path {0} is longer than {MAX_PATH_BYTES} bytes; set TMPDIR to a shorter directory")]
    PathTooLong(PathBuf),
    /// The directory does not exist or is not writable.
    #[error("no socket can be made at {path}: {source}; TMPDIR must name a writable directory")]
    Bind {
        /// The socket that was tried.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The group to share with is not known.
    #[error("PLUGIN_UNIX_SOCKET_GROUP names the group {0}, which {GROUPS} does not have; it may be a number too")]
    NoSuchGroup(String),
    /// The list of groups cannot be read.
    #[error(
        "PLUGIN_UNIX_SOCKET_GROUP names the group {group}, but {GROUPS} cannot be read ({source}); give its number"
    )]
    NoGroups {
        /// The group that was asked for.
        group: String,
        /// What the system said.
        source: io::Error,
    },
    /// The socket cannot be given to the group.
    #[error("the socket cannot be shared with group {group} (PLUGIN_UNIX_SOCKET_GROUP): {source}; is it one of ours?")]
    Share {
        /// The group's number.
        group: u32,
        /// What the system said.
        source: io::Error,
    },
}

impl Socket {
    /// Listens on a fresh socket in `dir`, readable and writable by its owner only (mode 0600), or also by a group that
    /// is given by its name or number (mode 0660).
    ///
    /// # Errors
    /// [`SocketError`] when the path is too long or cannot be bound, or the group is not to be had.
    pub fn bind_in(dir: &Path, group: Option<&str>) -> Result<Self, SocketError> {
        let group = group.map(group_number).transpose()?;
        // The prefix is go-plugin's (`serverListener_unix` in `server.go`): people look for it when they clean up.
        let path = dir.join(format!("plugin{}-{:08x}", std::process::id(), fastrand::u32(..)));
        if path.as_os_str().len() > MAX_PATH_BYTES {
            return Err(SocketError::PathTooLong(path));
        }
        // The mask comes first: between bind and a later chmod another user could connect.
        let before = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let bound = UnixListener::bind(&path);
        rustix::process::umask(before);
        let failed = |source| SocketError::Bind { path: path.clone(), source };
        let listener = bound.map_err(failed)?;
        let socket = Self { listener, path: path.clone() };
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        if let Some(group) = group {
            // The group comes first: until it is the right one, nobody else gets in.
            chown(&path, None, Some(group))
                .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o660)))
                .map_err(|source| SocketError::Share { group, source })?;
        }
        Ok(socket)
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection.
    ///
    /// # Errors
    /// What accept(2) said; a transient error (no file descriptors) may pass.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Nothing is left to do for a file that is already gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The number of a group that is given by number or by name, in this order (`setGroupWritable` in `server.go`).
fn group_number(group: &str) -> Result<u32, SocketError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = std::fs::read(GROUPS).map_err(|source| SocketError::NoGroups { group: group.to_owned(), source })?;
    named(&String::from_utf8_lossy(&groups), group).ok_or_else(|| SocketError::NoSuchGroup(group.to_owned()))
}

/// The number of the group in the lines `name:password:number:members` (group(5)).
fn named(groups: &str, wanted: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        if name == wanted { number.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_owners_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let socket = Socket::bind_in(dir.path(), None).unwrap();
        let path = socket.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_too_long_and_a_missing_directory_are_named() {
        let long = Path::new("/tmp").join("d".repeat(120));
        assert!(matches!(Socket::bind_in(&long, None), Err(SocketError::PathTooLong(_))));
        let error = Socket::bind_in(Path::new("/no/such/dir"), None).unwrap_err().to_string();
        assert!(error.contains("/no/such/dir") && error.contains("TMPDIR"), "{error}");
    }

    #[tokio::test]
    async fn a_group_shares_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        // Our own group: everybody may give a file to that.
        let own = dir.path().metadata().unwrap().gid();
        let socket = Socket::bind_in(dir.path(), Some(&own.to_string())).unwrap();
        let metadata = std::fs::metadata(socket.path()).unwrap();
        assert_eq!((metadata.gid(), metadata.permissions().mode() & 0o777), (own, 0o660));
    }

    #[tokio::test]
    async fn a_group_that_is_not_there_is_named_and_leaves_no_socket() {
        let dir = tempfile::tempdir().unwrap();
        let error = Socket::bind_in(dir.path(), Some("no such group")).unwrap_err().to_string();
        assert!(error.contains("PLUGIN_UNIX_SOCKET_GROUP names the group no such group"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn groups_are_found_by_their_whole_name() {
        let groups = "root:x:0:\nbroken\n\nweb-admin:x:7:a,b\nweb:x:1042:\nbad:x:many:\n";
        assert_eq!(named(groups, "web"), Some(1042));
        assert_eq!(named(groups, "root"), Some(0));
        for missing in ["we", "broken", "bad", "", "x"] {
            assert_eq!(named(groups, missing), None, "{missing:?}");
        }
    }
}
