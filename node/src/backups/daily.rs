//! The backup of each day: when it is due, whether there is room for it, and what becomes of the old ones.

use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc, time::Duration};

use keys::{ContentId, NodeId, Timestamp};
use monitor::Monitor;

use super::{BackupFailure, Made, TASK, key, list, make, prune, target, time};
use crate::{
    config::{BackupConfig, BackupTime},
    data_directory::DataDirectory,
    tasks::Tasks,
};

/// A node that has just started has better things to do, also when its backup is overdue.
const AFTER_START: Duration = Duration::from_secs(10 * 60);
/// After a failure it is tried again.
const RETRY: Duration = Duration::from_secs(3600);
/// The clock is looked at this often: it may be set, and a machine may sleep.
const LOOK: Duration = Duration::from_secs(10 * 60);
/// What a daily backup must leave free on the disk of the data: a node that cannot write its journal serves nobody.
const LEFT_FREE_BYTES: u64 = 1024 * 1024 * 1024;
/// What the daily backup of a node needs to know.
pub struct Daily {
    /// The node's files.
    pub directory: DataDirectory,
    /// What was configured.
    pub config: BackupConfig,
    /// The mesh.
    pub mesh: ContentId,
    /// The node.
    pub node: NodeId,
    /// Knows how full the disk is.
    pub monitor: Monitor,
}

impl Daily {
    /// Makes a backup when one is due, until the node stops. Failures are noted and tried again.
    pub async fn run(self, tasks: Tasks) {
        let BackupTime::Daily { minute } = self.config.daily else {
            return;
        };
        let daily = Arc::new(self);
        tokio::time::sleep(AFTER_START).await;
        loop {
            let left = wait(Timestamp::now(), minute, daily.newest(Timestamp::now()));
            if !left.is_zero() {
                tokio::time::sleep(left.min(LOOK)).await;
                continue;
            }
            let maker = daily.clone();
            let failure = match tokio::task::spawn_blocking(move || maker.make(Timestamp::now())).await {
                Ok(Ok(made)) => {
                    tracing::info!(archive = %made.archive.display(), changes = made.memory.envelopes, "a backup was made");
                    if made.damaged > 0 {
                        let error = format!(
                            "{} damaged record(s) or key file(s) are not in the backup",
                            made.damaged
                        );
                        tasks.note_error(TASK, &error);
                    }
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                // It panicked, or the runtime is going down.
                Err(error) => error.to_string(),
            };
            tasks.note_error(TASK, &failure);
            tokio::time::sleep(RETRY).await;
        }
    }

    /// When the newest backup was made, as far as the clock can be believed.
    fn newest(&self, now: Timestamp) -> Option<Timestamp> {
        let archives = list(&target(&self.directory, &self.config), self.node).ok()?;
        archives
            .into_iter()
            .map(|(created, _)| created)
            .filter(|created| *created <= now)
            .max()
    }

    fn make(&self, now: Timestamp) -> Result<Made, BackupFailure> {
        let target = target(&self.directory, &self.config);
        if let Some(load) = self.monitor.load().filter(|load| load.disk_total_bytes > 0) {
            let is_same_disk = device(&target).is_some() && device(&target) == device(self.directory.path());
            let free = is_same_disk.then_some(load.disk_free_bytes);
            check_room(journal_bytes(&self.directory), free)?;
        }
        let key = key(&self.directory, &self.config)?;
        let made = make(&self.directory, &target, &key, self.mesh, now)?;
        prune(&target, self.node, now)?;
        Ok(made)
    }
}

/// Whether an archive of this journal leaves room on a disk with so much free; `None`: another disk.
fn check_room(journal_bytes: u64, free: Option<u64>) -> Result<(), BackupFailure> {
    let needed = journal_bytes.saturating_add(LEFT_FREE_BYTES);
    match free {
        Some(free) if free < needed => Err(BackupFailure::NoRoom { needed, free }),
        _ => Ok(()),
    }
}

/// The disk on which a directory lies, or will lie.
fn device(path: &Path) -> Option<u64> {
    path.ancestors()
        .find_map(|path| fs::metadata(path).ok())
        .map(|metadata| metadata.dev())
}

/// About what an archive takes.
fn journal_bytes(directory: &DataDirectory) -> u64 {
    let entries = fs::read_dir(directory.store_path().join("journal"))
        .into_iter()
        .flatten()
        .flatten();
    // A file that vanishes in between takes no room.
    entries
        .map(|entry| entry.metadata().map_or(0, |metadata| metadata.len()))
        .sum()
}

/// How long to wait until a backup is due: nothing when none was made since the last time of day at which one should have been.
#[must_use]
pub fn wait(now: Timestamp, minute_of_day: u16, newest: Option<Timestamp>) -> Duration {
    let minute_of_day = u64::from(minute_of_day) * 60_000;
    // In days that begin at the time of the backup.
    let day = (now.0 + time::DAY - minute_of_day) / time::DAY;
    let began = (day * time::DAY + minute_of_day).saturating_sub(time::DAY);
    // A backup from the future, which a wrong clock made, says nothing about the next one.
    let is_done = newest.is_some_and(|newest| newest.0 >= began && newest <= now);
    let milliseconds = if is_done {
        (began + time::DAY).saturating_sub(now.0)
    } else {
        0
    };
    Duration::from_millis(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_due_once_a_day_and_at_once_when_one_was_missed() {
        let minute = 3 * 60 + 15;
        let at = |day: u64, hour: u64, minutes: u64| Timestamp(day * time::DAY + (hour * 60 + minutes) * 60_000);
        let hours = |hours: u64, minutes: u64| Duration::from_secs(hours * 3600 + minutes * 60);
        let cases = [
            // Made on time: until tomorrow.
            (at(100, 3, 16), Some(at(100, 3, 15)), hours(23, 59)),
            (at(100, 3, 15), Some(at(100, 3, 15)), hours(24, 0)),
            // Before today's time, with yesterday's backup.
            (at(100, 3, 0), Some(at(99, 3, 15)), hours(0, 15)),
            (at(100, 0, 0), Some(at(99, 23, 0)), hours(3, 15)),
            // Missed, never made, or made by a clock that was wrong.
            (at(100, 3, 15), Some(at(99, 3, 20)), hours(0, 0)),
            (at(100, 12, 0), Some(at(99, 3, 20)), hours(0, 0)),
            (at(100, 12, 0), Some(at(100, 3, 14)), hours(0, 0)),
            (at(100, 12, 0), None, hours(0, 0)),
            (at(100, 12, 0), Some(at(200, 0, 0)), hours(0, 0)),
        ];
        for (now, newest, expected) in cases {
            assert_eq!(wait(now, minute, newest), expected, "{now:?} {newest:?}");
        }
        // Whoever waits as told, looking at a backup of each time, makes one a day.
        let (mut now, mut newest, mut made) = (at(100, 17, 3), None, 0);
        while now < at(130, 17, 3) {
            let left = wait(now, minute, newest);
            if left.is_zero() {
                newest = Some(now);
                made += 1;
            }
            now = now.plus(u64::try_from(left.as_millis()).unwrap().max(1000));
        }
        assert_eq!(made, 31);
        for minute in [0, 1439] {
            assert_eq!(
                wait(Timestamp(5), minute, None),
                Duration::ZERO,
                "also at the beginning of time"
            );
        }
    }

    #[test]
    fn the_disk_of_the_data_is_not_filled() {
        assert!(check_room(10, Some(LEFT_FREE_BYTES + 10)).is_ok());
        let refused = check_room(11, Some(LEFT_FREE_BYTES + 10)).unwrap_err();
        assert!(refused.to_string().contains("[backup] directory"), "{refused}");
        assert!(
            check_room(u64::MAX, None).is_ok(),
            "another disk is its owner's business"
        );
        let base = tempfile::tempdir().unwrap();
        assert_eq!(device(&base.path().join("not/there/yet")), device(base.path()));
        assert!(device(base.path()).is_some() && device(Path::new("/proc")) != device(base.path()));
        let directory = crate::backups::tests::node(&base.path().join("node"));
        assert_eq!(journal_bytes(&directory), 8 + 2 * (36 + 3));
    }
}
