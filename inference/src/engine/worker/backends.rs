//! Which of llama.cpp's backends compute. In a package they are libraries beside the program, one for every kind of processor and for graphics
//! cards: those that this machine can run are loaded, of those for processors the best. Else they are inside the program.

#[cfg(feature = "dynamic-backends")]
use std::{io, path::Path};

use serde::{Deserialize, Serialize};

/// Libraries of backends beside the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backends {
    /// Those that are loaded, such as `libggml-cpu-zen4.so`; none where they are inside the program.
    pub(crate) loaded: Vec<String>,
    /// Those for graphics cards that cannot be loaded here: a driver is missing.
    pub(crate) without_driver: Vec<String>,
}

impl Backends {
    /// The names of those that are loaded, for the log; `None` where they are inside the program.
    pub(crate) fn names(&self) -> Option<String> {
        (!self.loaded.is_empty()).then(|| self.loaded.join(" "))
    }
}

/// How the names of all of them begin, and of those for processors.
#[cfg(any(test, feature = "dynamic-backends"))]
const PREFIX: &str = "libggml-";
#[cfg(any(test, feature = "dynamic-backends"))]
const PROCESSOR: &str = "libggml-cpu";
/// What they share, which computes nothing.
#[cfg(any(test, feature = "dynamic-backends"))]
const BASE: &str = "libggml-base";

#[cfg(any(test, feature = "dynamic-backends"))]
impl Backends {
    /// From the names of the files beside the program, what the system says is in this process's memory (`/proc/self/maps`), and the
    /// address of a function of the one for the processor. All of those for processors are in memory: each was asked whether it can run
    /// here, and none leaves any more.
    fn told(files: impl IntoIterator<Item = String>, maps: &str, processor: Option<usize>) -> Self {
        let is_backend = |name: &String| name.starts_with(PREFIX) && !name.starts_with(BASE) && name.ends_with(".so");
        let mut files: Vec<String> = files.into_iter().filter(is_backend).collect();
        files.sort_unstable();
        let (processors, cards): (Vec<_>, Vec<_>) = files.into_iter().partition(|name| name.starts_with(PROCESSOR));
        let chosen = processor.and_then(|address| maps.lines().find(|line| holds(line, address)).map(file_name));
        let is_in_memory = |name: &String| maps.lines().any(|line| file_name(line) == name);
        let (cards, without_driver) = cards.into_iter().partition(is_in_memory);
        let mut loaded: Vec<String> = processors.into_iter().filter(|name| Some(&**name) == chosen).collect();
        loaded.extend::<Vec<_>>(cards);
        Self { loaded, without_driver }
    }

    /// Whether there is one for the processor, without which nothing is computed.
    fn has_processor(&self) -> bool {
        self.loaded.iter().any(|name| name.starts_with(PROCESSOR))
    }
}

/// Whether an address is in the part of memory that a line of `/proc/self/maps` is about.
#[cfg(any(test, feature = "dynamic-backends"))]
fn holds(line: &str, address: usize) -> bool {
    let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
    let number = |text| usize::from_str_radix(text, 16).ok();
    range
        .and_then(|(from, to)| Some(number(from)?..number(to)?))
        .is_some_and(|range| range.contains(&address))
}

/// The name of the file in a line of `/proc/self/maps`.
#[cfg(any(test, feature = "dynamic-backends"))]
fn file_name(line: &str) -> &str {
    line.rsplit('/').next().unwrap_or_default()
}

/// Loads those beside the program; nothing to do where they are inside.
///
/// # Errors
/// Why nothing can be computed with them.
#[cfg(not(feature = "dynamic-backends"))]
#[allow(clippy::unnecessary_wraps, reason = "as in a package")]
pub(super) fn load() -> Result<Backends, String> {
    Ok(Backends::default())
}

/// Loads those beside the program.
///
/// # Errors
/// Why nothing can be computed with them.
#[cfg(feature = "dynamic-backends")]
pub(super) fn load() -> Result<Backends, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = program.parent().ok_or("the program is in no folder")?;
    // The library takes its text only, and ends the process at any other.
    if folder.to_str().is_none() {
        return Err(format!("the name of the folder {} is not UTF-8", folder.display()));
    }
    llama_cpp_2::llama_backend::load_backends_from_path(folder);
    let backends = look(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    if backends.has_processor() {
        Ok(backends)
    } else {
        Err(format!(
            "no {PROCESSOR}-*.so that this processor can run is in {}",
            folder.display()
        ))
    }
}

#[cfg(feature = "dynamic-backends")]
fn look(folder: &Path) -> io::Result<Backends> {
    let names =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<io::Result<_>>()?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    Ok(Backends::told(names, &maps, super::raw::processor_backend()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_computes_is_told_and_which_card_has_no_driver() {
        let files = [
            "libggml-cpu-x64.so",
            "libggml-cpu-zen4.so",
            "libggml-cuda.so",
            "libggml-vulkan.so",
            "libggml-base.so",
            "starling",
        ];
        let told = |maps, address| Backends::told(files.map(str::to_owned), maps, address);
        let maps = "7f00-7f01 r-xp 00000000 fe:00 12   /opt/a folder/libggml-cpu-x64.so\n\
                    7f01-7f02 r-xp 00000000 fe:00 13   /opt/a folder/libggml-cpu-zen4.so\n\
                    7f02-7f03 r-xp 00000000 fe:00 14   /opt/a folder/libggml-vulkan.so\n\
                    7f03-7f04 r-xp 00000000 fe:00 15   /opt/a folder/libggml-base.so.0\n\
                    7f04-7f05 rw-p 00000000 00:00 0\n";
        let backends = told(maps, Some(0x7f01));
        assert_eq!(backends.loaded, ["libggml-cpu-zen4.so", "libggml-vulkan.so"]);
        assert_eq!(backends.without_driver, ["libggml-cuda.so"]);
        assert!(backends.has_processor());
        for nowhere in [None, Some(0x7f04), Some(0x7f06)] {
            assert_eq!(told(maps, nowhere).loaded, ["libggml-vulkan.so"]);
            assert!(!told(maps, nowhere).has_processor());
        }
        assert_eq!(told(maps, None).names().as_deref(), Some("libggml-vulkan.so"));
        assert_eq!(Backends::default().names(), None);
    }
}
