//! The file of a Unix socket.

use std::{
    fs::{self, DirBuilder, File, Metadata, Permissions, TryLockError},
    io::{self, ErrorKind},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        net,
    },
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    time::sleep,
};

use super::endpoint::SocketMode;

/// The file of a Unix socket, removed when dropped. Drop it before the listener: another process may replace the
/// file as soon as nobody listens.
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// How often a lock that another process holds is tried again, and the pause before.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// A directory that only this user can enter, removed when dropped.
struct PrivateDirectory(PathBuf);

/// Listens on a Unix socket, in place of one on which no process listens.
///
/// A socket gets its permissions from the umask, which belongs to the whole process, and threads may be
/// creating files meanwhile. The socket is therefore created in a private directory, gets its permissions
/// there, and is then linked to its path: nobody can connect before that, and a link never replaces a file.
pub(super) async fn bind(path: &Path, mode: SocketMode) -> io::Result<(UnixListener, SocketFile)> {
    // Nobody could connect to a longer path, although a file can have it.
    net::SocketAddr::from_pathname(path)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Another process that starts on the same path waits here, so that it cannot remove the socket of this one.
    // The lock ends with the variable.
    let lock = File::open(parent)?;
    acquire(&lock).await?;
    remove_abandoned(path).await?;
    let directory = PrivateDirectory::create(parent)?;
    let draft = directory.0.join("s");
    let listener = net::UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, Permissions::from_mode(mode.0))?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(&fs::symlink_metadata(&draft)?),
    };
    fs::hard_link(&draft, path)?;
    listener.set_nonblocking(true)?;
    Ok((UnixListener::from_std(listener)?, file))
}

/// Acquires a lock. Fails if another process keeps it: any process that can read the directory can.
async fn acquire(lock: &File) -> io::Result<()> {
    for _ in 0..LOCK_ATTEMPTS {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => sleep(LOCK_PAUSE).await,
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
    let message = "another process keeps the directory locked";
    Err(io::Error::new(ErrorKind::TimedOut, message))
}

/// Removes the file of a socket on which no process listens. Fails if a process listens, and if it is another
/// kind of file.
async fn remove_abandoned(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            let message = "a file that is not a socket exists at this path";
            return Err(io::Error::new(ErrorKind::AlreadyExists, message));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        // Also if its queue of new connections is full.
        _ => {
            let message = "another process listens on this socket";
            Err(io::Error::new(ErrorKind::AddrInUse, message))
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have replaced it.
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| identity(&found) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl PrivateDirectory {
    fn create(parent: &Path) -> io::Result<Self> {
        // Short, because the path of a socket has at most 107 bytes.
        let path = parent.join(format!(".{}", process::id()));
        let directory = Self(path);
        // One that an earlier process with this number left behind.
        directory.remove();
        DirBuilder::new().mode(0o700).create(&directory.0)?;
        Ok(directory)
    }

    fn remove(&self) {
        let _ = fs::remove_file(self.0.join("s"));
        let _ = fs::remove_dir(&self.0);
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    const MODE: SocketMode = SocketMode(0o660);

    fn names(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_socket_has_its_permissions_and_is_removed_with_its_listener() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        let (_listener, file) = bind(&path, MODE).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert_eq!(names(&directory), ["socket"]);
        UnixStream::connect(&path).await.unwrap();
        drop(file);
        assert!(names(&directory).is_empty());
    }

    #[tokio::test]
    async fn an_abandoned_socket_is_replaced() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        // The standard library does not remove the file.
        drop(net::UnixListener::bind(&path).unwrap());
        let (_listener, _file) = bind(&path, MODE).await.unwrap();
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_in_use_is_kept() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        let (_listener, _file) = bind(&path, MODE).await.unwrap();
        let refused = bind(&path, MODE).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        UnixStream::connect(&path).await.unwrap();
        assert_eq!(names(&directory), ["socket"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_keeps_the_directory_locked_does_not_block_forever() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        let lock = File::open(directory.path()).unwrap();
        lock.lock().unwrap();
        let refused = bind(&path, MODE).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
        assert!(refused.to_string().contains("locked"), "{refused}");
        assert!(names(&directory).is_empty());
        drop(lock);
        bind(&path, MODE).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_locks_the_directory_for_a_moment_is_waited_for() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        let lock = File::open(directory.path()).unwrap();
        lock.lock().unwrap();
        tokio::spawn(async move {
            sleep(LOCK_PAUSE * 3).await;
            drop(lock);
        });
        bind(&path, MODE).await.unwrap();
    }

    #[tokio::test]
    async fn other_files_are_kept() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        let other = directory.path().join("file");
        fs::write(&other, "mine").unwrap();
        symlink(&other, &path).unwrap();
        for path in [&path, &other, &directory.path().to_owned()] {
            let refused = bind(path, MODE).await.err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
        assert_eq!(names(&directory).len(), 2);
    }

    #[tokio::test]
    async fn a_socket_that_replaced_this_one_is_not_removed() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        let (_first, file) = bind(&path, MODE).await.unwrap();
        fs::remove_file(&path).unwrap();
        let (_listener, _file) = bind(&path, MODE).await.unwrap();
        drop(file);
        UnixStream::connect(&path).await.unwrap();
    }
}
