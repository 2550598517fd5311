//! Which model, where its file is, and whether it fits: decided from the file's header before anything is loaded.

use std::{
    fs,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

use super::{
    EngineSettings,
    calibration::{ProfileFile, fingerprint, thread_choices},
    gguf::{Header, HeaderError},
    memory::{self, Fit},
    mock::Script,
    upstream::Server,
};
use crate::limits::{CONTEXT_TOKENS_MAX, MEMORY_RESERVE_BYTES, PARKED_BYTES_MAX};

/// The model that is part of the program: 5.5 million parameters, Russian and English, made for Starling (see `builtin/README.md`).
const BUILT_IN: &[u8] = include_bytes!("../../models/built-in.gguf");

/// Which model a node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// None: this node only asks others.
    None,
    /// The one inside the program.
    BuiltIn,
    /// A GGUF file.
    File(PathBuf),
    /// A file that is called otherwise than it is named, such as one of the catalogue.
    Named {
        /// What people call the model.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// A model of the catalogue whose file has to be found or fetched first; see [`Engines::found`](crate::keeper::Engines::found).
    Catalogue(String),
    /// A server that the operator runs already.
    Upstream(Server),
    /// None at all: prepared answers, for tests. It says so wherever it shows.
    Mock(Script),
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read.
    #[error("the model {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a whole GGUF file.
    #[error("the model {path} cannot be used: {source}")]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// Not enough memory.
    #[error(
        "the model {path} does not fit: with a context of {context_tokens} tokens for {slots} at once it needs about \
         {needed_megabytes} MB and {available_megabytes} MB are free; {advice}"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Context of each sequence.
        context_tokens: u32,
        /// Sequences.
        slots: u32,
        /// Estimated need.
        needed_megabytes: u64,
        /// What the machine can give.
        available_megabytes: u64,
        /// What would fit.
        advice: String,
    },
    /// Its file was not looked for yet.
    #[error("the model {0} of the catalogue is not on this machine")]
    NotFetched(String),
    /// The address of an upstream server makes no sense.
    #[error("{0}")]
    Upstream(#[from] super::upstream::AddressError),
    /// A setting is out of range.
    #[error("{0}")]
    Setting(&'static str),
    /// The built-in model cannot be unpacked.
    #[error("the built-in model cannot be unpacked to {path}: {source}")]
    Unpack {
        /// Where to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A model that can be loaded.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    /// Numbers of threads to choose from.
    pub(crate) threads: Vec<u32>,
    pub(crate) fit: Fit,
    pub(crate) parked_bytes: usize,
    pub(crate) profile_file: ProfileFile,
}

impl Prepared {
    /// Bytes that are set aside for it.
    pub(crate) fn memory(&self) -> u64 {
        let parked = u64::try_from(self.parked_bytes).unwrap_or(u64::MAX);
        self.fit.estimate.total().saturating_add(parked)
    }
}

/// Whether the settings make sense.
pub(crate) fn check_settings(settings: &EngineSettings) -> Result<(), ModelError> {
    if settings.slots == 0 || settings.slots > 64 {
        return Err(ModelError::Setting("the number of slots must be 1 to 64"));
    }
    if !(64..=CONTEXT_TOKENS_MAX).contains(&settings.context_tokens) {
        return Err(ModelError::Setting("the context must be 64 to 131072 tokens"));
    }
    if settings.threads.is_some_and(|threads| !(1..=256).contains(&threads)) {
        return Err(ModelError::Setting("the number of threads must be 1 to 256"));
    }
    Ok(())
}

/// Its file, and what people call it.
fn located(settings: &EngineSettings) -> Result<(PathBuf, String), ModelError> {
    Ok(match &settings.model {
        ModelSource::File(path) => (path.clone(), stem(path)),
        ModelSource::Named { name, path } => (path.clone(), name.clone()),
        ModelSource::Catalogue(name) => return Err(ModelError::NotFetched(name.clone())),
        _ => (unpack(&settings.models_directory)?, "built-in".to_owned()),
    })
}

/// What is known of a model before it is loaded.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Bytes of memory at least.
    pub(crate) memory: u64,
}

/// Reads the file's header for what the model needs at least.
pub(crate) fn needs(settings: &EngineSettings) -> Result<Needs, ModelError> {
    let (path, name) = located(settings)?;
    let (header, bytes) = read_header(&path)?;
    let memory = memory::least(&header, cells(settings, &header));
    Ok(Needs {
        name,
        path,
        bytes,
        memory,
    })
}

/// Reads the file's header and decides how to run it in so many bytes, or in what the machine has; nothing is loaded yet.
pub(crate) fn prepare(settings: &EngineSettings, room: Option<u64>) -> Result<Prepared, ModelError> {
    let (path, name) = located(settings)?;
    let (header, bytes) = read_header(&path)?;
    let available = room.map_or_else(
        || available_memory().unwrap_or(u64::MAX),
        |room| room.saturating_add(MEMORY_RESERVE_BYTES),
    );
    let fit = fit(settings, &path, &header, available)?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let threads = thread_choices(settings.threads, cores, bytes);
    let parts = ends(&path, bytes).map_err(|source| ModelError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let settled = format!("{threads:?}|{}|{}", fit.micro_batch, fit.is_cache_small);
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let fingerprint = fingerprint(&parts, &processor(), cores, &settled);
    let left = room.unwrap_or(available).saturating_sub(fit.estimate.total());
    Ok(Prepared {
        name,
        threads,
        fit,
        // A small model needs little for what pauses; what it does not need another model may.
        parked_bytes: usize::try_from(PARKED_BYTES_MAX.min(left / 10).min(fit.estimate.total())).unwrap_or(0),
        profile_file: ProfileFile::new(&settings.models_directory, &fingerprint),
        path,
    })
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// The header of a whole model file, and the file's size.
pub(crate) fn read_header(path: &Path) -> Result<(Header, u64), ModelError> {
    let unreadable = |source| ModelError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let header = if metadata.is_file() {
        Header::read(file, metadata.len())
    } else {
        Err(HeaderError::NotGguf)
    };
    let header = header.map_err(|source| ModelError::Header {
        path: path.to_owned(),
        source,
    })?;
    Ok((header, metadata.len()))
}

/// Tokens of context in all.
fn cells(settings: &EngineSettings, header: &Header) -> u64 {
    let per_slot = header
        .shape("context_length")
        .map_or(settings.context_tokens.into(), |trained| {
            trained.max(64).min(settings.context_tokens.into())
        });
    per_slot.saturating_mul(settings.slots.into())
}

/// How the model fits into memory. llama.cpp itself reports all memory as free on a CPU.
fn fit(settings: &EngineSettings, path: &Path, header: &Header, available: u64) -> Result<Fit, ModelError> {
    let cells = cells(settings, header);
    let usable = available.saturating_sub(MEMORY_RESERVE_BYTES);
    memory::fit(header, cells, usable).map_err(|refused| {
        let megabyte = 1024 * 1024;
        ModelError::TooLarge {
            path: path.to_owned(),
            context_tokens: settings.context_tokens,
            slots: settings.slots,
            needed_megabytes: refused.needed.saturating_add(MEMORY_RESERVE_BYTES) / megabyte,
            available_megabytes: available / megabyte,
            advice: match refused.nearest {
                Some(name) => format!("the same model quantised as {name} would fit, or choose a shorter context"),
                None => "choose a smaller model, a shorter context or fewer at once".to_owned(),
            },
        }
    })
}

/// The beginning and the end of the file: enough to tell models apart, in no time.
fn ends(path: &Path, bytes: u64) -> io::Result<[Vec<u8>; 3]> {
    const PART: u64 = 1024 * 1024;
    let mut file = fs::File::open(path)?;
    let mut parts = [Vec::new(), Vec::new(), bytes.to_le_bytes().to_vec()];
    file.by_ref().take(PART).read_to_end(&mut parts[0])?;
    file.seek(io::SeekFrom::Start(bytes.saturating_sub(PART)))?;
    file.take(PART).read_to_end(&mut parts[1])?;
    Ok(parts)
}

/// What the processor calls itself; with its flags, since the same name can come with fewer of them in a virtual machine.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let wanted =
        |line: &&str| line.starts_with("model name") || line.starts_with("flags") || line.starts_with("Features");
    text.lines().filter(wanted).take(2).collect()
}

/// What this process may still take: the machine's available memory, or the control group's limit where that is lower.
pub(crate) fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let available = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024;
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let used = fs::read_to_string("/sys/fs/cgroup/memory.current")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    // The files that were read count as used until somebody needs the memory, such as a model's that has just been loaded.
    let files = fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    let files = files.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let files = files.and_then(|bytes| bytes.trim().parse::<u64>().ok()).unwrap_or(0);
    let used = used.map(|used| used.saturating_sub(files));
    let in_group = limit
        .zip(used)
        .map_or(u64::MAX, |(limit, used)| limit.saturating_sub(used));
    Some(available.min(in_group))
}

/// Writes the built-in model beside the node's data, once per version.
fn unpack(directory: &Path) -> Result<PathBuf, ModelError> {
    let path = directory.join(format!("built-in-{}.gguf", &blake3::hash(BUILT_IN).to_hex()[..16]));
    let failed = |source| ModelError::Unpack {
        path: path.clone(),
        source,
    };
    if fs::read(&path).is_ok_and(|bytes| bytes == BUILT_IN) {
        return Ok(path);
    }
    fs::create_dir_all(directory).map_err(failed)?;
    // A crash in between must not leave half a model under the final name.
    let partial = path.with_extension("partial");
    fs::write(&partial, BUILT_IN)
        .and_then(|()| fs::rename(&partial, &path))
        .map_err(failed)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(model: ModelSource, directory: &Path) -> EngineSettings {
        EngineSettings {
            program: PathBuf::new(),
            model,
            models_directory: directory.join("models"),
            slots: 4,
            context_tokens: 2048,
            threads: None,
        }
    }

    #[test]
    fn the_built_in_model_is_unpacked_once_and_mended_when_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(ModelSource::BuiltIn, directory.path());
        let path = prepare(&settings, None).unwrap().path;
        fs::write(&path, b"GGUFdamaged").unwrap();
        assert_eq!(prepare(&settings, None).unwrap().path, path);
        assert_eq!(fs::read(&path).unwrap(), BUILT_IN);
    }

    #[test]
    fn files_that_are_no_whole_models_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("notes.gguf");
        let prepare = |path: &Path| prepare(&settings(ModelSource::File(path.to_owned()), directory.path()), None);
        assert!(matches!(prepare(&file), Err(ModelError::Unreadable { .. })));
        for content in [
            &b""[..],
            b"GG",
            b"hello world",
            b"GGUF",
            &BUILT_IN[..BUILT_IN.len() / 2],
        ] {
            fs::write(&file, content).unwrap();
            assert!(matches!(prepare(&file), Err(ModelError::Header { .. })));
        }
        assert!(prepare(directory.path()).is_err());
        fs::write(&file, BUILT_IN).unwrap();
        assert_eq!(prepare(&file).unwrap().name, "notes");
        let zero = EngineSettings {
            slots: 0,
            ..settings(ModelSource::None, directory.path())
        };
        assert!(matches!(check_settings(&zero), Err(ModelError::Setting(_))));
    }

    #[test]
    fn a_model_larger_than_memory_is_refused_with_the_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(ModelSource::BuiltIn, directory.path());
        let path = prepare(&settings, None).unwrap().path;
        let (header, _) = read_header(&path).unwrap();
        let error = fit(&settings, &path, &header, MEMORY_RESERVE_BYTES + 1)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("MB are free") && error.contains("2048 tokens for 4"),
            "{error}"
        );
        assert!(fit(&settings, &path, &header, 1 << 30).is_ok());
        // In the least that it needs, and not in less.
        let least = needs(&settings).unwrap().memory;
        assert_eq!(prepare(&settings, Some(least)).unwrap().memory(), least);
        assert!(matches!(
            prepare(&settings, Some(least - 1)),
            Err(ModelError::TooLarge { .. })
        ));
    }
}
