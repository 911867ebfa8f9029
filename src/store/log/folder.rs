//! The folder of a log: its lock, its files by number, and what has to be synced when a file comes or goes. Knows nothing of
//! what is in the files. Every write and every sync passes [`Faults`].

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    num::NonZeroU32,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::store::{Faults, OpenError};

/// See the module's text. Held as long as the log is open.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Locked; the lock goes with the process, however it ends.
    _lock: File,
    faults: Faults,
}

impl Folder {
    /// Makes the folder if need be, and locks it.
    pub(super) fn open(path: &Path, faults: Faults) -> Result<Self, OpenError> {
        fs::create_dir_all(path).map_err(OpenError::io("make the folder", path))?;
        let lock_path = path.join("lock");
        let lock = File::options().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(OpenError::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock, faults }),
            Err(fs::TryLockError::WouldBlock) => Err(OpenError::Locked(path.to_owned())),
            Err(fs::TryLockError::Error(error)) => Err(OpenError::Io { act: "lock", path: lock_path, error }),
        }
    }

    /// The files of the log, by number.
    pub(super) fn files(&self) -> Result<BTreeMap<NonZeroU32, PathBuf>, OpenError> {
        let entries = fs::read_dir(&self.path).map_err(OpenError::io("list", &self.path))?;
        let mut files = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(OpenError::io("list", &self.path))?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 8);
            let number = stem.and_then(|stem| stem.parse().ok());
            if let Some(number) = number
                && path.extension().is_some_and(|extension| extension == "log")
            {
                files.insert(number, path);
            }
        }
        Ok(files)
    }

    pub(super) fn path_of(&self, number: NonZeroU32) -> PathBuf {
        self.path.join(format!("{number:08}.log"))
    }

    /// A new file that begins with `header`, durable with its name. One of that number is replaced.
    pub(super) fn create(&self, number: NonZeroU32, header: &[u8]) -> io::Result<File> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(self.path_of(number))?;
        self.write(&file, header, 0)?;
        self.sync(&file)?;
        self.sync_names()?;
        Ok(file)
    }

    pub(super) fn remove(&self, number: NonZeroU32) -> io::Result<()> {
        fs::remove_file(self.path_of(number))?;
        self.sync_names()
    }

    pub(super) fn write(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        let taken = self.faults.room(bytes.len());
        file.write_all_at(&bytes[..taken], position)?;
        if taken < bytes.len() { Err(Faults::full()) } else { Ok(()) }
    }

    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.faults.before_sync()?;
        file.sync_data()
    }

    /// Which files there are.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
