//! Inputs made from other inputs, the same ones on every run.

use crate::LONGEST;

/// What is often at a boundary.
const NUMBERS: [&str; 16] = [
    "0",
    "-0",
    "1",
    "-1",
    "255",
    "256",
    "1e3",
    "1.0",
    "2147483648",
    "4294967296",
    "9007199254740990",
    "9007199254740991",
    "9007199254740992",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
];

/// Makes inputs from a corpus.
pub(crate) struct Mutator<'a> {
    words: &'a [&'a str],
    corpus: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutator<'a> {
    pub(crate) fn new(words: &'a [&'a str], corpus: &'a [Vec<u8>]) -> Mutator<'a> {
        Mutator { words, corpus, state: 0 }
    }

    /// One input of the corpus, changed one to eight times.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let start = self.below(self.corpus.len());
        let mut input = self.corpus[start].clone();
        for _ in 0..=self.below(8) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        match self.below(9) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.byte(),
            2 => input.insert(at, self.byte()),
            3 => drop(input.drain(at..self.end(at, input.len()))),
            4 => {
                let part = input[at..self.end(at, input.len())].to_vec();
                self.put(input, &part);
            }
            5 => {
                let other = self.below(self.corpus.len());
                let other = &self.corpus[other];
                let from = self.below(other.len() + 1);
                let part = other[from..self.end(from, other.len())].to_vec();
                self.put(input, &part);
            }
            6 => self.replace_number(input, at),
            7 if !self.words.is_empty() => {
                let word = self.below(self.words.len());
                self.put(input, self.words[word].as_bytes());
            }
            _ => {
                let number = NUMBERS[self.below(NUMBERS.len())];
                self.put(input, number.as_bytes());
            }
        }
    }

    /// Puts a part somewhere, over what stands there or before it.
    fn put(&mut self, input: &mut Vec<u8>, part: &[u8]) {
        let at = self.below(input.len() + 1);
        let end = if self.below(2) == 0 { at } else { (at + part.len()).min(input.len()) };
        input.splice(at..end, part.iter().copied());
    }

    /// Replaces the next number after `at`.
    fn replace_number(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some(start) = input[at..].iter().position(u8::is_ascii_digit) else { return };
        let start = at + start;
        let digits = input[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        let number = NUMBERS[self.below(NUMBERS.len())];
        input.splice(start..start + digits, number.bytes());
    }

    /// The end of a part that begins at `at`: most are short.
    fn end(&mut self, at: usize, length: usize) -> usize {
        let longest = if self.below(4) == 0 { length } else { 16 };
        (at + 1 + self.below(longest)).min(length).max(at)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or_default()
    }

    /// A number below `n`, or 0. The generator is splitmix64.
    fn below(&mut self, n: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let n = u64::try_from(n).unwrap_or(u64::MAX).max(1);
        usize::try_from((z ^ (z >> 31)) % n).unwrap_or_default()
    }
}
