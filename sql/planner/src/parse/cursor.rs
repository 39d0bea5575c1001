//! The parser's hands: looking at tokens, taking them, and saying what was wrong.

use super::NESTING_MAX;
use super::lexer::{Tok, Token, char_position};
use crate::ast::{Ident, ObjectName, Pos};
use crate::error::{PlanError, Result};
use datum::keywords::{self, may_be_bare_label, may_be_name};
use std::sync::Arc;

pub struct Parser<'a> {
    pub(super) sql: &'a str,
    tokens: &'a [Token],
    pub(super) at: usize,
    /// Where the statement begins; positions in the tree count from here.
    pub(super) base: usize,
    depth: usize,
    /// How deep the tree is that has been built so far at this level of nesting.
    height: usize,
    /// AS OF SYSTEM TIME, as it was met in the statement so far.
    pub(super) as_of: Option<Arc<str>>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(sql: &'a str, tokens: &'a [Token]) -> Self {
        Self { sql, tokens, at: 0, base: 0, depth: 0, height: 0, as_of: None }
    }

    pub(super) fn token(&self) -> &'a Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    pub(super) fn peek(&self) -> &'a Tok {
        &self.token().tok
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &'a Tok {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].tok
    }

    pub(super) fn pos(&self) -> Pos {
        (self.token().start - self.base) as Pos
    }

    /// The byte where the last taken token ended.
    pub(super) fn previous_end(&self) -> usize {
        match self.at {
            0 => 0,
            at => self.tokens[at - 1].end,
        }
    }

    /// The text from a token index up to here.
    pub(super) fn text_since(&self, at: usize) -> &'a str {
        &self.sql[self.tokens[at].start..self.previous_end()]
    }

    pub(super) fn advance(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    pub(super) fn unexpected(&self) -> PlanError {
        let token = self.token();
        if token.tok == Tok::End {
            return PlanError::syntax("syntax error at end of input")
                .at(char_position(self.sql, token.start));
        }
        let near = &self.sql[token.start..token.end];
        PlanError::syntax(format!("syntax error at or near \"{near}\""))
            .at(char_position(self.sql, token.start))
    }

    /// An error at a position of the tree.
    pub(super) fn error_at(
        &self,
        sqlstate: &'static str,
        message: impl Into<String>,
        pos: Pos,
    ) -> PlanError {
        PlanError::new(sqlstate, message).at(char_position(self.sql, self.base + pos as usize))
    }

    // ---- symbols ----

    pub(super) fn accept(&mut self, tok: &Tok) -> bool {
        let found = self.peek() == tok;
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect(&mut self, tok: &Tok) -> Result<()> {
        if self.accept(tok) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn at_op(&self, op: &str) -> bool {
        matches!(self.peek(), Tok::Op(o) if o == op)
    }

    pub(super) fn accept_op(&mut self, op: &str) -> bool {
        let found = self.at_op(op);
        if found {
            self.advance();
        }
        found
    }

    // ---- words ----

    pub(super) fn at_word(&self, word: &str) -> bool {
        self.word_at(0, word)
    }

    pub(super) fn word_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Tok::Word(w) if w == word)
    }

    /// Several words in a row.
    pub(super) fn at_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, w)| self.word_at(i, w))
    }

    pub(super) fn at_one_of(&self, words: &[&str]) -> bool {
        matches!(self.peek(), Tok::Word(w) if words.contains(&w.as_str()))
    }

    pub(super) fn accept_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn accept_words(&mut self, words: &[&str]) -> bool {
        let found = self.at_words(words);
        if found {
            for _ in words {
                self.advance();
            }
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.accept_word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn expect_words(&mut self, words: &[&str]) -> Result<()> {
        words.iter().try_for_each(|w| self.expect_word(w))
    }

    /// Takes one of the words and answers its place.
    pub(super) fn accept_one_of(&mut self, words: &[&str]) -> Option<usize> {
        let Tok::Word(word) = self.peek() else { return None };
        let found = words.iter().position(|w| w == word)?;
        self.advance();
        Some(found)
    }

    pub(super) fn if_exists(&mut self) -> bool {
        self.accept_words(&["if", "exists"])
    }

    pub(super) fn if_not_exists(&mut self) -> bool {
        self.accept_words(&["if", "not", "exists"])
    }

    /// CASCADE or RESTRICT or nothing.
    pub(super) fn cascade(&mut self) -> bool {
        self.accept_one_of(&["cascade", "restrict"]) == Some(0)
    }

    // ---- names ----

    fn name_if(&mut self, allowed: impl Fn(&str) -> bool) -> Option<Ident> {
        let name = match self.peek() {
            Tok::Quoted(name) => name.clone(),
            Tok::Word(word) if allowed(word) => word.clone(),
            _ => return None,
        };
        let ident = Ident { name, pos: self.pos() };
        self.advance();
        Some(ident)
    }

    /// A column, table or alias name.
    pub(super) fn name(&mut self) -> Result<Ident> {
        self.name_if(may_be_name).ok_or_else(|| self.unexpected())
    }

    pub(super) fn accept_name(&mut self) -> Option<Ident> {
        self.name_if(may_be_name)
    }

    /// Any word at all: after AS, after a point.
    pub(super) fn label(&mut self) -> Result<Ident> {
        self.name_if(|_| true).ok_or_else(|| self.unexpected())
    }

    /// A function or type name.
    pub(super) fn accept_function_name(&mut self) -> Option<Ident> {
        self.name_if(keywords::may_be_function)
    }

    /// A column label without AS.
    pub(super) fn accept_bare_label(&mut self) -> Option<Ident> {
        self.name_if(may_be_bare_label)
    }

    /// `a.b.c`
    pub(super) fn object_name(&mut self) -> Result<ObjectName> {
        let mut parts = vec![self.name()?];
        while self.peek() == &Tok::Dot {
            self.advance();
            parts.push(self.label()?);
        }
        if parts.len() > 3 {
            let name = ObjectName { parts };
            let message = format!("improper qualified name (too many dotted names): {name}");
            return Err(self.error_at("42601", message, name.pos()));
        }
        Ok(ObjectName { parts })
    }

    pub(super) fn object_names(&mut self) -> Result<Vec<ObjectName>> {
        self.list(|p| p.object_name())
    }

    /// `(a, b, c)`
    pub(super) fn name_list(&mut self) -> Result<Vec<Ident>> {
        self.parenthesised(|p| p.list(|p| p.name()))
    }

    /// `(a, b)` or nothing.
    pub(super) fn optional_name_list(&mut self) -> Result<Vec<Ident>> {
        if self.peek() == &Tok::LParen { self.name_list() } else { Ok(Vec::new()) }
    }

    // ---- literals ----

    pub(super) fn string(&mut self) -> Result<String> {
        let Tok::Str(text) = self.peek() else { return Err(self.unexpected()) };
        self.advance();
        Ok(text.clone())
    }

    pub(super) fn integer(&mut self) -> Result<i64> {
        let negative = self.accept_op("-");
        if !negative {
            self.accept_op("+");
        }
        let Tok::Int(digits) = self.peek() else { return Err(self.unexpected()) };
        let text = if negative { format!("-{digits}") } else { digits.clone() };
        let Ok(value) = text.parse() else { return Err(self.unexpected()) };
        self.advance();
        Ok(value)
    }

    // ---- shapes ----

    /// One or more, separated by commas.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.accept(&Tok::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(super) fn parenthesised<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.expect(&Tok::LParen)?;
        let value = inner(self)?;
        self.expect(&Tok::RParen)?;
        Ok(value)
    }

    /// Runs `inner` one level deeper, on a stack that suffices.
    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= NESTING_MAX {
            return Err(too_deep());
        }
        let around = std::mem::take(&mut self.height);
        self.depth += 1;
        let result = stacker::maybe_grow(128 << 10, 1 << 20, || inner(self));
        self.depth -= 1;
        self.height = around.max(self.height + 1);
        result
    }

    /// One more link of a chain that leans left, `1 + 1 + 1` or `x::a::b`: a tree as deep as the
    /// chain is long, and as deep again as its first link.
    pub(super) fn link(&mut self) -> Result<()> {
        self.height += 1;
        if self.height > NESTING_MAX { Err(too_deep()) } else { Ok(()) }
    }
}

/// PostgreSQL's answer to text that nests too deep.
pub(crate) fn too_deep() -> PlanError {
    PlanError::new("54001", "stack depth limit exceeded")
        .hint("Simplify the statement: its expressions or queries nest too deep.")
}
