//! The unix socket a host dials, for its owner alone.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use tokio::net::{UnixListener, UnixStream};

/// The longest path that fits into `sockaddr_un.sun_path` with its closing zero, in bytes (unix(7)).
const MAX_PATH_BYTES: usize = 107;

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
}

impl Socket {
    /// Listens on a fresh socket in `dir`, readable and writable by its owner only (mode 0600).
    ///
    /// # Errors
    /// [`SocketError`] when the path is too long or cannot be bound.
    pub fn bind_in(dir: &Path) -> Result<Self, SocketError> {
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
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_its_owners_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let socket = Socket::bind_in(dir.path()).unwrap();
        let path = socket.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_too_long_and_a_missing_directory_are_named() {
        let long = Path::new("/tmp").join("d".repeat(120));
        assert!(matches!(Socket::bind_in(&long), Err(SocketError::PathTooLong(_))));
        let error = Socket::bind_in(Path::new("/no/such/dir")).unwrap_err().to_string();
        assert!(error.contains("/no/such/dir") && error.contains("TMPDIR"), "{error}");
    }
}
