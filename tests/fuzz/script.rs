//! Takes an input apart into numbers and pieces, so that a search over bytes becomes one over steps and their content.

/// Reads an input from its beginning; an input that ends early is read as if zeros followed.
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Two bytes, little endian.
    pub fn number(&mut self) -> usize {
        let low = self.byte();
        usize::from(u16::from_le_bytes([low, self.byte()]))
    }

    /// A piece with its length in front; a length beyond the end means all that is left.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = self.number().min(self.0.len());
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        piece
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Writes a piece as [`Script::piece`] reads it.
pub fn piece(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a seed is short");
    [&length.to_le_bytes()[..], bytes].concat()
}
