//! Under `./x fuzz`: the program that libFuzzer drives, with the target named by `FUZZ_TARGET`. Built as usual: runs single inputs
//! (`cargo run -p fuzz -- TARGET FILE...`) and writes the seeds of the corpora anew (`cargo run -p fuzz -- seeds`).

#![cfg_attr(feature = "libfuzzer", no_main)]

#[cfg(feature = "libfuzzer")]
mod driven {
    use std::sync::LazyLock;

    static TARGET: LazyLock<&fuzz::Target> = LazyLock::new(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        fuzz::target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET names no target: {name:?}"))
    });

    libfuzzer_sys::fuzz_target!(
        init: {
            LazyLock::force(&TARGET);
            fuzz::remember_panics();
        },
        |bytes: &[u8]| fuzz::stop_at_a_broken_promise(|| (TARGET.run)(bytes))
    );
}

#[cfg(not(feature = "libfuzzer"))]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match by_hand::command(&arguments) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(feature = "libfuzzer"))]
mod by_hand {
    use std::{error::Error, fs};

    pub fn command(arguments: &[String]) -> Result<(), Box<dyn Error>> {
        match arguments {
            [word] if word == "targets" => {
                fuzz::TARGETS.iter().for_each(|target| println!("{}", target.name));
                Ok(())
            }
            [word] if word == "seeds" => seeds(),
            [name, files @ ..] if !files.is_empty() => replay(name, files),
            _ => Err("usage: fuzz TARGET FILE... | fuzz seeds | fuzz targets".into()),
        }
    }

    /// Writes the seeds of every target; what else is in a corpus stays.
    fn seeds() -> Result<(), Box<dyn Error>> {
        for target in fuzz::TARGETS {
            let directory = fuzz::corpus().join(target.name);
            fs::create_dir_all(&directory)?;
            for file in fs::read_dir(&directory)? {
                let file = file?;
                if file.file_name().to_string_lossy().starts_with("seed-") {
                    fs::remove_file(file.path())?;
                }
            }
            for (name, bytes) in (target.seeds)() {
                fs::write(directory.join(format!("seed-{name}")), bytes)?;
            }
        }
        Ok(())
    }

    /// Runs inputs; the first broken promise ends the program with its place and words.
    fn replay(name: &str, files: &[String]) -> Result<(), Box<dyn Error>> {
        let target = fuzz::target(name).ok_or("there is no such target; `fuzz targets` lists them")?;
        for file in files {
            let bytes = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
            (target.run)(&bytes);
            println!("{file}: {} bytes, every promise holds", bytes.len());
        }
        Ok(())
    }
}
