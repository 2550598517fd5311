//! `starling links`: who is linked with whom in the whole mesh, as the running node has heard.

use std::{io::Write as _, path::Path};

use super::CommandError;
use crate::{
    control::{self, LinkStatus, LinksStatus, Request},
    data_directory::DataDirectory,
};

/// Asks the running node and prints its answer as a table.
///
/// # Errors
/// When none runs, or nobody is called so.
pub fn run(path: &Path, to: Option<&str>, json: bool) -> Result<(), CommandError> {
    DataDirectory::open(path)?;
    let status: LinksStatus = control::request(path, &Request::Links(to.map(str::to_owned)))?;
    let text = if json {
        serde_json::to_string_pretty(&status)? + "\n"
    } else {
        table(&status)
    };
    // A reader that has seen enough (`| head`) is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn table(status: &LinksStatus) -> String {
    let mut rows = vec![["between", "and", "path", "round trip", "lost", "bytes", "heard"].map(str::to_owned)];
    rows.extend(status.links.iter().map(row));
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text += cells.join("  ").trim_end();
        text += "\n";
    }
    let LinksStatus { members, heard_of, .. } = status;
    let links = match status.links.len() {
        1 => "1 link".to_owned(),
        count => format!("{count} links"),
    };
    text += &format!("{links}; {heard_of} of {members} members have told of theirs.\n");
    if let Some(routes) = &status.routes {
        text += match routes.len() {
            0 => "No route that both ends of every link confirm.\n",
            _ => "Routes that share no node on the way:\n",
        };
        for route in routes {
            text += &format!("  {}\n", route.join(" - "));
        }
    }
    text
}

fn row(link: &LinkStatus) -> [String; 7] {
    let unknown = || "-".to_owned();
    let [there, back] = link.bytes.map(|bytes| bytes.map_or_else(unknown, bytes_in_words));
    let age = format!("{:.0} s ago", link.age_seconds);
    [
        link.nodes[0].clone(),
        link.nodes[1].clone(),
        link.path.clone(),
        link.round_trip_ms.map_or_else(unknown, |ms| format!("{ms:.1} ms")),
        link.loss.map_or_else(unknown, |loss| format!("{:.2} %", loss * 100.0)),
        format!("{there} / {back}"),
        match (&link.silent, link.confirmed) {
            (Some(name), _) => format!("{age}, {name} does not answer"),
            (None, true) => age,
            (None, false) => format!("{age}, told by one end"),
        },
    ]
}

fn bytes_in_words(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_a_table_with_units_and_ages() {
        let link = LinkStatus {
            nodes: ["home".into(), "vds-1".into()],
            node_ids: ["aa".into(), "bb".into()],
            confirmed: true,
            silent: None,
            round_trip_ms: Some(42.04),
            loss: Some(0.0123),
            path: "quic".into(),
            bytes: [Some(1_500_000), None],
            age_seconds: 12.4,
        };
        let one_sided = LinkStatus {
            confirmed: false,
            round_trip_ms: None,
            loss: None,
            ..link.clone()
        };
        let silent = LinkStatus {
            silent: Some("vds-1".into()),
            ..link.clone()
        };
        let status = LinksStatus {
            members: 3,
            heard_of: 2,
            links: vec![link, one_sided, silent],
            routes: Some(vec![vec!["home".into(), "vds-1".into()]]),
        };
        let text = table(&status);
        for part in [
            "42.0 ms",
            "1.23 %",
            "1.4 MiB / -",
            "12 s ago\n",
            "told by one end",
            "12 s ago, vds-1 does not answer",
            "2 of 3 members",
            "home - vds-1",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert_eq!(bytes_in_words(1023), "1023 B");
    }
}
