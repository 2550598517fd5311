//! What a start found damaged and repaired, in words: `starling doctor` shows it until the next start.

use crdt::OpenReport;

/// One sentence for each repair; none where everything was whole.
pub(crate) fn words(report: &OpenReport) -> Vec<String> {
    let mut repaired = Vec::new();
    if report.rotten_records > 0 {
        repaired.push(format!(
            "{} damaged place(s) in the journal: those records are set aside and come again from other nodes; is the disk healthy?",
            report.rotten_records
        ));
    }
    if report.torn_bytes > 0 {
        repaired.push(format!(
            "{} byte(s) at the journal's end were not whole, as after a loss of power: they are kept beside it as store/journal/*.torn-*",
            report.torn_bytes
        ));
    }
    if report.index_rebuilt {
        repaired.push(
            "the index was missing or damaged and was made anew from the journal; nothing was lost by that".to_owned(),
        );
    }
    repaired
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_repair_is_a_sentence_and_a_whole_store_has_none() {
        let whole = OpenReport {
            envelopes: 7,
            index_rebuilt: false,
            torn_bytes: 0,
            rotten_records: 0,
        };
        assert!(words(&whole).is_empty());
        let damaged = OpenReport {
            index_rebuilt: true,
            torn_bytes: 12,
            rotten_records: 3,
            ..whole
        };
        let said = words(&damaged).join("\n");
        for part in ["3 damaged place(s)", "12 byte(s)", "the index was"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
