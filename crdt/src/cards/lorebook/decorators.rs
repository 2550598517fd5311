//! The lines that begin with `@@` at the head of an entry's content: conditions and places.

use crate::limits::LOREBOOK_DECORATORS_MAX;

/// Where an entry goes in a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before what the character is.
    BeforeCharacter,
    /// Behind what the character is.
    AfterCharacter,
    /// Where its personality is told.
    Personality,
    /// Where the scenario is told.
    Scenario,
    /// Among the messages, so many from the newest; 0 stands behind the newest.
    Depth(usize),
}

/// Who says an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The one who instructs.
    #[default]
    System,
    /// The person.
    User,
    /// The character.
    Assistant,
}

/// Everything that decorators say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Decorators {
    pub(crate) activate: bool,
    pub(crate) dont_activate: bool,
    pub(crate) activate_only_after: Option<usize>,
    pub(crate) activate_only_every: Option<usize>,
    pub(crate) keep_activate_after_match: bool,
    pub(crate) dont_activate_after_match: bool,
    pub(crate) depth: Option<usize>,
    pub(crate) reverse_depth: Option<usize>,
    pub(crate) role: Role,
    pub(crate) scan_depth: Option<usize>,
    pub(crate) is_greeting: Option<usize>,
    pub(crate) position: Option<Position>,
    pub(crate) ignore_on_max_context: bool,
    pub(crate) additional_keys: Vec<String>,
    pub(crate) exclude_keys: Vec<String>,
    pub(crate) disable_ui_prompt: Option<String>,
    /// Which have been read: of several of one name the first counts.
    seen: Vec<String>,
}

/// Takes the decorators off the head of a content.
pub(super) fn split(content: &str) -> (Decorators, String) {
    let mut decorators = Decorators::default();
    let mut rest = content;
    // Whether the decorator above is in force, so that its fallbacks are not.
    let mut is_settled = true;
    for _ in 0..LOREBOOK_DECORATORS_MAX {
        let trimmed = rest.trim_start_matches(['\n', '\r']);
        let Some(line) = trimmed.strip_prefix("@@") else {
            break;
        };
        let (line, behind) = line.split_once('\n').unwrap_or((line, ""));
        let line = line.trim_end();
        match line.strip_prefix('@') {
            Some(fallback) if !is_settled => is_settled = decorators.take(fallback),
            Some(_) => {}
            None => is_settled = decorators.take(line),
        }
        rest = behind;
    }
    (decorators, rest.trim_matches(['\n', '\r']).to_owned())
}

impl Decorators {
    /// Takes one, without its `@@`; false when it is not known or its value makes no sense.
    fn take(&mut self, line: &str) -> bool {
        let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = value.trim();
        if self.seen.iter().any(|seen| seen == name) {
            return true;
        }
        let is_known = self.set(name, value);
        if is_known {
            self.seen.push(name.to_owned());
        }
        is_known
    }

    fn set(&mut self, name: &str, value: &str) -> bool {
        let list = || {
            value
                .split(',')
                .map(str::trim)
                .filter(|key| !key.is_empty())
                .map(str::to_owned)
                .collect()
        };
        match name {
            "activate" => self.activate = true,
            "dont_activate" => self.dont_activate = true,
            "activate_only_after" => return number(value, &mut self.activate_only_after),
            "activate_only_every" => return value != "0" && number(value, &mut self.activate_only_every),
            "keep_activate_after_match" => self.keep_activate_after_match = true,
            "dont_activate_after_match" => self.dont_activate_after_match = true,
            "depth" => return number(value, &mut self.depth),
            "reverse_depth" => return number(value, &mut self.reverse_depth),
            "scan_depth" => return number(value, &mut self.scan_depth),
            "is_greeting" => return number(value, &mut self.is_greeting),
            "ignore_on_max_context" => self.ignore_on_max_context = true,
            "additional_keys" => self.additional_keys = list(),
            "exclude_keys" => self.exclude_keys = list(),
            "role" => match value {
                "system" => self.role = Role::System,
                "user" => self.role = Role::User,
                "assistant" => self.role = Role::Assistant,
                _ => return false,
            },
            "position" => match value {
                "before_desc" => self.position = Some(Position::BeforeCharacter),
                "after_desc" => self.position = Some(Position::AfterCharacter),
                "personality" => self.position = Some(Position::Personality),
                "scenario" => self.position = Some(Position::Scenario),
                _ => return false,
            },
            "disable_ui_prompt" => match value {
                "post_history_instructions" | "system_prompt" => self.disable_ui_prompt = Some(value.to_owned()),
                _ => return false,
            },
            // `instruct_depth` and its like are for texts that are no chat, `is_user_icon` for personas.
            _ => return false,
        }
        true
    }
}

/// A number of decorators; below zero it counts as zero.
fn number(value: &str, field: &mut Option<usize>) -> bool {
    let Ok(number) = value.parse::<i64>() else {
        return false;
    };
    *field = Some(usize::try_from(number).unwrap_or(0));
    true
}
