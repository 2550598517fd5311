//! Which model, where its file is, and whether it fits: decided from the file's header before anything is loaded.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::EngineSettings;
use crate::limits::{CONTEXT_TOKENS_MAX, MEMORY_RESERVE_BYTES, SMALL_MODEL_BYTES};

/// The model that is part of the program: 2.2 million parameters, Russian, made for Starling (see `models/README.md`).
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
    /// Not a GGUF file.
    #[error("{0} is not a GGUF model file")]
    NotGguf(PathBuf),
    /// Not enough memory.
    #[error(
        "the model {path} does not fit: it needs about {needed_megabytes} MB and {available_megabytes} MB are free; \
         choose a smaller or stronger quantised model, or a shorter context"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Estimated need.
        needed_megabytes: u64,
        /// What the machine can give.
        available_megabytes: u64,
    },
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
    pub(crate) threads: u32,
}

/// Checks settings and file; `None` when the node runs no model.
pub(crate) fn prepare(settings: &EngineSettings) -> Result<Option<Prepared>, ModelError> {
    if settings.slots == 0 || settings.slots > 64 {
        return Err(ModelError::Setting("the number of slots must be 1 to 64"));
    }
    if !(64..=CONTEXT_TOKENS_MAX).contains(&settings.context_tokens) {
        return Err(ModelError::Setting("the context must be 64 to 131072 tokens"));
    }
    if settings.threads.is_some_and(|threads| !(1..=256).contains(&threads)) {
        return Err(ModelError::Setting("the number of threads must be 1 to 256"));
    }
    let (path, name) = match &settings.model {
        ModelSource::None => return Ok(None),
        ModelSource::BuiltIn => (unpack(&settings.models_directory)?, "built-in".to_owned()),
        ModelSource::File(path) => (path.clone(), stem(path)),
    };
    let bytes = check(&path)?;
    fits(&path, bytes)?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let threads = settings
        .threads
        .unwrap_or(if bytes < SMALL_MODEL_BYTES { 1 } else { cores });
    Ok(Some(Prepared {
        path,
        name,
        threads: threads.clamp(1, 256),
    }))
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Whether the file is a GGUF, and its size.
fn check(path: &Path) -> Result<u64, ModelError> {
    let unreadable = |source| ModelError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(ModelError::NotGguf(path.to_owned()));
    }
    let mut magic = [0; 4];
    match file.read_exact(&mut magic) {
        Ok(()) if &magic == b"GGUF" => Ok(metadata.len()),
        Ok(()) => Err(ModelError::NotGguf(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ModelError::NotGguf(path.to_owned())),
        Err(error) => Err(unreadable(error)),
    }
}

/// A first, coarse check: the weights must fit. llama.cpp itself reports all memory as free on a CPU.
fn fits(path: &Path, bytes: u64) -> Result<(), ModelError> {
    let Some(available) = available_memory() else {
        return Ok(());
    };
    let needed = bytes + MEMORY_RESERVE_BYTES;
    if needed <= available {
        return Ok(());
    }
    let megabyte = 1024 * 1024;
    Err(ModelError::TooLarge {
        path: path.to_owned(),
        needed_megabytes: needed / megabyte,
        available_megabytes: available / megabyte,
    })
}

/// What this process may still take: the machine's available memory, or the control group's limit where that is lower.
fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let available = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024;
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    let used = fs::read_to_string("/sys/fs/cgroup/memory.current")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
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
        let path = prepare(&settings).unwrap().unwrap().path;
        fs::write(&path, b"GGUFdamaged").unwrap();
        assert_eq!(prepare(&settings).unwrap().unwrap().path, path);
        assert_eq!(fs::read(&path).unwrap(), BUILT_IN);
    }

    #[test]
    fn files_that_are_no_models_are_said_to_be_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("notes.gguf");
        let prepare = |path: &Path| prepare(&settings(ModelSource::File(path.to_owned()), directory.path()));
        assert!(matches!(prepare(&file), Err(ModelError::Unreadable { .. })));
        for content in [&b""[..], b"GG", b"hello world"] {
            fs::write(&file, content).unwrap();
            assert!(matches!(prepare(&file), Err(ModelError::NotGguf(_))));
        }
        assert!(matches!(
            prepare(directory.path()),
            Err(ModelError::NotGguf(_) | ModelError::Unreadable { .. })
        ));
        fs::write(&file, b"GGUF").unwrap();
        assert_eq!(prepare(&file).unwrap().unwrap().name, "notes");
        let none = settings(ModelSource::None, directory.path());
        assert!(super::prepare(&none).unwrap().is_none());
        let zero = EngineSettings { slots: 0, ..none };
        assert!(matches!(super::prepare(&zero), Err(ModelError::Setting(_))));
    }

    #[test]
    fn a_model_larger_than_memory_is_refused_with_the_numbers() {
        let error = fits(Path::new("huge.gguf"), u64::MAX / 2).unwrap_err().to_string();
        assert!(error.contains("MB are free"), "{error}");
    }
}
