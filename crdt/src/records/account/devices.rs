//! On which devices a person is signed in.
//!
//! At most [`DEVICES_LIVE_MAX`] are live: those used last. That is a function of the record, so every node shuts out the same ones.
//! Whoever writes a device also writes down who has left because of it: otherwise one would come back as soon as another signs out.

use std::cmp::Reverse;

use keys::Timestamp;
use serde::{Deserialize, Serialize};

use crate::records::{
    EntryId, RecordError, Sealed,
    migrate::{InitialFormat, Migrate},
    shape::{self, Reader, StoredText, Writer, context, decode},
};

/// Devices of one person at the same time.
pub const DEVICES_LIVE_MAX: usize = 5;
/// Devices of one person that are remembered, those that left included.
pub const DEVICES_MAX: usize = 50;
/// Characters of what a device calls itself.
pub const LABEL_CHARACTERS_MAX: usize = 200;
const DEVICE: &str = "d";

/// A device that signed in. What two nodes noted at the same time is joined: the later use, the higher generation, and signed out
/// when either says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// When it signed in, and which one it is.
    pub id: EntryId,
    /// What it calls itself.
    pub label: Sealed,
    /// When it was last used; noted in steps of minutes.
    pub seen: Timestamp,
    /// How often its refresh token has been changed. An older token is a stolen one.
    pub generation: u64,
    /// Whether it has left.
    pub signed_out: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredDevice {
    label: StoredText,
    seen: Timestamp,
    generation: u64,
    signed_out: bool,
}

impl InitialFormat for StoredDevice {
    const VERSION: u8 = 1;
}

impl Device {
    pub(super) fn validate(&self) -> Result<(), RecordError> {
        shape::check_sealed("label", &self.label, 0, LABEL_CHARACTERS_MAX)
    }
}

/// What is needed to say who is live.
trait Idle {
    fn id(&self) -> EntryId;
    fn seen(&self) -> Timestamp;
    fn signed_out(&self) -> bool;
}

impl Idle for &Device {
    fn id(&self) -> EntryId {
        self.id
    }
    fn seen(&self) -> Timestamp {
        self.seen
    }
    fn signed_out(&self) -> bool {
        self.signed_out
    }
}

impl Idle for (EntryId, StoredDevice) {
    fn id(&self) -> EntryId {
        self.0
    }
    fn seen(&self) -> Timestamp {
        self.1.seen
    }
    fn signed_out(&self) -> bool {
        self.1.signed_out
    }
}

/// Sorts into those that are live, the longest unused first, and those that would be if there were room.
fn sort_out<D: Idle>(devices: impl Iterator<Item = D>, signed_out: Timestamp) -> (Vec<D>, Vec<D>) {
    let mut live: Vec<D> = devices
        .filter(|device| !device.signed_out() && device.id().at() >= signed_out)
        .collect();
    // Of devices used in the same moment the one that signed in earlier leaves.
    live.sort_by_key(|device| Reverse((device.seen(), device.id())));
    let surplus = live.split_off(live.len().min(DEVICES_LIVE_MAX));
    live.reverse();
    (live, surplus)
}

pub(super) fn live(devices: &[Device], signed_out: Timestamp) -> Vec<&Device> {
    sort_out(devices.iter(), signed_out).0
}

fn key(id: EntryId) -> String {
    format!("{DEVICE}{id}")
}

fn stored(reader: &Reader<'_>) -> Vec<(EntryId, StoredDevice)> {
    let devices = reader.entries(DEVICE).filter_map(|entry| {
        let mut device: StoredDevice = decode(&entry.value)?;
        if entry.is_conflict {
            for other in reader.values::<StoredDevice>(&key(entry.key)) {
                device.seen = device.seen.max(other.seen);
                device.generation = device.generation.max(other.generation);
                device.signed_out |= other.signed_out;
            }
        }
        Some((entry.key, device))
    });
    let mut devices: Vec<_> = devices.collect();
    // Those that left long ago are forgotten first.
    devices.sort_by_key(|(id, device)| (!device.signed_out, device.seen, *id));
    let mut devices = devices.split_off(devices.len().saturating_sub(DEVICES_MAX));
    devices.sort_by_key(|(id, _)| *id);
    devices
}

pub(super) fn read(reader: &Reader<'_>) -> Vec<Device> {
    let devices = stored(reader).into_iter().map(|(id, device)| Device {
        id,
        label: reader.open_text(&device.label, &context("device", Some(&id)), LABEL_CHARACTERS_MAX),
        seen: device.seen,
        generation: device.generation,
        signed_out: device.signed_out,
    });
    devices.collect()
}

/// Writes a device, and who leaves because of it.
pub(super) fn write(writer: &mut Writer<'_>, device: &Device, signed_out: Timestamp) -> Result<(), RecordError> {
    device.validate()?;
    let value = StoredDevice {
        label: writer.seal_text("label", &context("device", Some(&device.id)), &device.label)?,
        seen: device.seen,
        generation: device.generation,
        signed_out: device.signed_out,
    };
    put(writer, device.id, &value)?;
    evict(writer, signed_out)
}

/// Notes that a device was used; neither its time nor its generation goes back.
pub(super) fn touch(
    writer: &mut Writer<'_>,
    id: EntryId,
    seen: Timestamp,
    generation: u64,
    signed_out: Timestamp,
) -> Result<(), RecordError> {
    let mut device = find(writer, id)?;
    device.seen = device.seen.max(seen);
    device.generation = device.generation.max(generation);
    put(writer, id, &device)?;
    evict(writer, signed_out)
}

/// Notes that a device has left.
pub(super) fn sign_out(writer: &mut Writer<'_>, id: EntryId) -> Result<(), RecordError> {
    let mut device = find(writer, id)?;
    device.signed_out = true;
    put(writer, id, &device)
}

fn evict(writer: &mut Writer<'_>, signed_out: Timestamp) -> Result<(), RecordError> {
    let (_, surplus) = sort_out(stored(&writer.reader()).into_iter(), signed_out);
    surplus.into_iter().try_for_each(|(id, mut device)| {
        device.signed_out = true;
        put(writer, id, &device)
    })
}

fn find(writer: &Writer<'_>, id: EntryId) -> Result<StoredDevice, RecordError> {
    let devices = stored(&writer.reader());
    let found = devices.into_iter().find(|(other, _)| *other == id);
    found.map(|(_, device)| device).ok_or(RecordError::Absent("device"))
}

fn put(writer: &mut Writer<'_>, id: EntryId, device: &StoredDevice) -> Result<(), RecordError> {
    writer.put(&key(id), device.encode().map_err(|_| RecordError::Limit("device"))?)
}
