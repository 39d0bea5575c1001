//! Operator precedence, literals, calls, casts, arrays and rows: enough SQL for one expression on one line.

use datum::{ColumnType, SqlType};
use expr::{CallOptions, Comparison, Expr, ExprError, ResolvedCall, Resolver, Result, Subscript};

pub fn parse(text: &str, resolver: &Resolver<'_>) -> Result<Expr> {
    let tokens = tokenize(text);
    let mut parser = Parser { tokens, at: 0, resolver };
    let expr = parser.expression(0)?;
    assert!(parser.at == parser.tokens.len(), "left over in {text}: {:?}", parser.peek());
    Ok(expr)
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Word(String),
    Quoted(String),
    Number(String),
    Symbol(String),
    Param(usize),
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    position: u32,
}

fn tokenize(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let start = i;
        let c = chars[i];
        let kind = if c.is_whitespace() {
            i += 1;
            continue;
        } else if c == '\'' {
            let mut literal = String::new();
            i += 1;
            loop {
                if chars[i] == '\'' && chars.get(i + 1) == Some(&'\'') {
                    literal.push('\'');
                    i += 2;
                } else if chars[i] == '\'' {
                    i += 1;
                    break;
                } else {
                    literal.push(chars[i]);
                    i += 1;
                }
            }
            Kind::Quoted(literal)
        } else if c == '$' {
            i += 1;
            while i < chars.len() && chars[i].is_ascii_digit() {
                i += 1;
            }
            Kind::Param(chars[start + 1..i].iter().collect::<String>().parse().expect("a number"))
        } else if c.is_ascii_digit() {
            while i < chars.len()
                && (chars[i].is_ascii_digit()
                    || (chars[i] == '.' && chars.get(i + 1).is_some_and(char::is_ascii_digit))
                    || (chars[i] == 'e' && chars.get(i + 1).is_some_and(char::is_ascii_digit)))
            {
                i += 1;
            }
            Kind::Number(chars[start..i].iter().collect())
        } else if c.is_alphabetic() || c == '_' {
            while i < chars.len() && (chars[i].is_alphanumeric() || chars[i] == '_') {
                i += 1;
            }
            Kind::Word(chars[start..i].iter().collect::<String>().to_lowercase())
        } else if "()[],".contains(c) {
            i += 1;
            Kind::Symbol(c.to_string())
        } else if c == ':' {
            i += if chars.get(i + 1) == Some(&':') { 2 } else { 1 };
            Kind::Symbol(chars[start..i].iter().collect())
        } else {
            while i < chars.len() && "+-*/<>=~!@#%^&|?".contains(chars[i]) {
                // A sign after another operator is the operand's.
                if i > start && "+-".contains(chars[i]) && !"~!@#%^&|?".contains(chars[start]) {
                    break;
                }
                i += 1;
            }
            Kind::Symbol(chars[start..i].iter().collect())
        };
        tokens.push(Token { kind, position: start as u32 + 1 });
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    resolver: &'a Resolver<'a>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn position(&self) -> Option<u32> {
        self.tokens.get(self.at).map(|token| token.position)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(&Kind::Word(word.to_owned()));
        self.at += usize::from(found);
        found
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = self.peek() == Some(&Kind::Symbol(symbol.to_owned()));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) {
        assert!(self.symbol(symbol), "expected {symbol} before {:?}", self.peek());
    }

    fn binding_power(symbol: &str) -> u8 {
        match symbol {
            "=" | "<" | ">" | "<=" | ">=" | "<>" | "!=" => 5,
            "+" | "-" => 8,
            "*" | "/" | "%" => 9,
            "^" => 10,
            "::" => 13,
            "[" => 12,
            "(" | ")" | "]" | "," | ":" => 0,
            _ => 7,
        }
    }

    fn expression(&mut self, least: u8) -> Result<Expr> {
        let mut left = self.prefix()?;
        loop {
            let position = self.position();
            match self.peek().cloned() {
                Some(Kind::Symbol(symbol)) => {
                    let power = Self::binding_power(&symbol);
                    if power == 0 || power <= least {
                        return Ok(left);
                    }
                    self.at += 1;
                    left = self.infix(left, &symbol, power, position)?;
                }
                Some(Kind::Word(word)) => match word.as_str() {
                    "or" if least < 1 => {
                        self.at += 1;
                        let right = self.expression(1)?;
                        left = self.resolver.or(vec![left, right])?;
                    }
                    "and" if least < 2 => {
                        self.at += 1;
                        let right = self.expression(2)?;
                        left = self.resolver.and(vec![left, right])?;
                    }
                    "is" if least < 4 => {
                        self.at += 1;
                        left = self.is(left, position)?;
                    }
                    "not" | "in" | "like" | "ilike" | "similar" if least < 6 => {
                        left = self.word_operator(left, position)?;
                    }
                    "at" if least < 11 => {
                        self.at += 1;
                        assert!(self.word("time") && self.word("zone"));
                        let zone = self.expression(11)?;
                        left =
                            self.resolver.resolve_scalar("timezone", vec![zone, left], position)?;
                    }
                    _ => return Ok(left),
                },
                _ => return Ok(left),
            }
        }
    }

    fn infix(
        &mut self,
        left: Expr,
        symbol: &str,
        power: u8,
        position: Option<u32>,
    ) -> Result<Expr> {
        if symbol == "::" {
            let ty = self.type_name();
            return self.resolver.cast(left, &ty, position);
        }
        if symbol == "[" {
            let mut subscripts = Vec::new();
            loop {
                let first = if self.peek() == Some(&Kind::Symbol(":".into())) {
                    None
                } else {
                    Some(self.expression(0)?)
                };
                if self.symbol(":") {
                    let upper = if self.peek() == Some(&Kind::Symbol("]".into())) {
                        None
                    } else {
                        Some(self.expression(0)?)
                    };
                    subscripts.push(Subscript::Slice { lower: first, upper });
                } else {
                    subscripts.push(Subscript::Index(first.expect("an index")));
                }
                self.expect("]");
                if !self.symbol("[") {
                    return self.resolver.subscript(left, subscripts, position);
                }
            }
        }
        for all in [false, true] {
            if self.word(if all { "all" } else { "any" }) {
                self.expect("(");
                let array = self.expression(0)?;
                self.expect(")");
                return self.resolver.any_all(symbol, left, array, all, position);
            }
        }
        let right = self.expression(power)?;
        match Comparison::from_symbol(symbol) {
            Some(comparison) => self.resolver.compare(comparison, left, right, position),
            None => self.resolver.resolve_operator(symbol, Some(left), right, position),
        }
    }

    fn is(&mut self, left: Expr, position: Option<u32>) -> Result<Expr> {
        let negated = self.word("not");
        if self.word("null") {
            return self.resolver.is_null(left, negated);
        }
        if self.word("distinct") {
            assert!(self.word("from"));
            let right = self.expression(5)?;
            return self.resolver.is_distinct(left, right, negated, position);
        }
        let test = if self.word("true") {
            expr::BoolTest::True
        } else if self.word("false") {
            expr::BoolTest::False
        } else {
            assert!(self.word("unknown"));
            expr::BoolTest::Unknown
        };
        self.resolver.is_bool(left, test, negated)
    }

    fn word_operator(&mut self, left: Expr, position: Option<u32>) -> Result<Expr> {
        let negated = self.word("not");
        if self.word("in") {
            self.expect("(");
            let list = self.list(")")?;
            return self.resolver.in_list(left, list, negated, position);
        }
        let symbol = if self.word("like") {
            if negated { "!~~" } else { "~~" }
        } else if self.word("ilike") {
            if negated { "!~~*" } else { "~~*" }
        } else {
            assert!(self.word("similar") && self.word("to"));
            let pattern = self.expression(6)?;
            let regex =
                self.resolver.resolve_scalar("similar_to_escape", vec![pattern], position)?;
            let symbol = if negated { "!~" } else { "~" };
            return self.resolver.resolve_operator(symbol, Some(left), regex, position);
        };
        let right = self.expression(6)?;
        self.resolver.resolve_operator(symbol, Some(left), right, position)
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expr>> {
        let mut list = Vec::new();
        if self.symbol(end) {
            return Ok(list);
        }
        loop {
            list.push(self.expression(0)?);
            if self.symbol(end) {
                return Ok(list);
            }
            self.expect(",");
        }
    }

    fn prefix(&mut self) -> Result<Expr> {
        let token = self.tokens[self.at].clone();
        let position = Some(token.position);
        self.at += 1;
        match token.kind {
            Kind::Number(spelling) => Expr::number(&spelling),
            Kind::Quoted(literal) => Ok(Expr::unknown(literal, position)),
            Kind::Param(number) => self.resolver.params.reference(number, position),
            Kind::Symbol(symbol) if symbol == "(" => {
                let mut list = self.list(")")?;
                if list.len() == 1 {
                    Ok(list.remove(0))
                } else {
                    Ok(self.resolver.untyped_row(list))
                }
            }
            Kind::Symbol(symbol) => {
                // A sign before a number is part of what the grammar folds into it.
                let power = if symbol == "-" || symbol == "+" { 11 } else { 7 };
                let operand = self.expression(power)?;
                self.resolver.resolve_operator(&symbol, None, operand, position)
            }
            Kind::Word(word) => self.word_expression(&word, position),
        }
    }

    fn word_expression(&mut self, word: &str, position: Option<u32>) -> Result<Expr> {
        match word {
            "null" => return Ok(Expr::unknown_null(position)),
            "true" | "false" => return Ok(Expr::bool(word == "true")),
            "not" => {
                let operand = self.expression(3)?;
                return self.resolver.not(operand);
            }
            "array" => return self.array(position),
            "row" => {
                self.expect("(");
                let fields = self.list(")")?;
                return self.resolver.row(fields);
            }
            "case" => return self.case(position),
            _ => {}
        }
        if let Some(Kind::Quoted(literal)) = self.peek().cloned() {
            let ty = SqlType::from_name(word).expect("type 'literal'");
            let position = self.position();
            self.at += 1;
            return self.resolver.cast(
                Expr::unknown(literal, position),
                &ColumnType::plain(ty),
                None,
            );
        }
        if !self.symbol("(") {
            // current_date and its like.
            return self.resolver.resolve_scalar(word, Vec::new(), position);
        }
        let mut options = CallOptions::at(position);
        let mut args = Vec::new();
        while !self.symbol(")") {
            self.symbol(",");
            if self.word("variadic") {
                options.variadic = true;
            }
            let mut name = None;
            if let (Some(Kind::Word(own)), Some(Kind::Symbol(arrow))) =
                (self.peek().cloned(), self.tokens.get(self.at + 1).map(|token| token.kind.clone()))
                && arrow == "=>"
            {
                name = Some(own);
                self.at += 2;
            }
            options.names.push(name);
            args.push(self.expression(0)?);
        }
        match word {
            "coalesce" => self.resolver.coalesce(args),
            "greatest" => self.resolver.greatest(args),
            "least" => self.resolver.least(args),
            "nullif" => {
                let right = args.pop().expect("two arguments");
                let left = args.pop().expect("two arguments");
                self.resolver.nullif(left, right, position)
            }
            _ => match self.resolver.resolve_function(word, args, &options)? {
                ResolvedCall::Scalar(expr) => Ok(expr),
                other => Err(ExprError::internal(format!("not scalar: {other:?}"))),
            },
        }
    }

    fn array(&mut self, position: Option<u32>) -> Result<Expr> {
        self.expect("[");
        let mut elements = Vec::new();
        while !self.symbol("]") {
            self.symbol(",");
            if self.peek() == Some(&Kind::Symbol("[".into())) {
                elements.push(self.array(position)?);
            } else {
                elements.push(self.expression(0)?);
            }
        }
        if elements.is_empty() && self.symbol("::") {
            let ty = self.type_name();
            return Ok(self.resolver.empty_array(ty));
        }
        self.resolver.array(elements, position)
    }

    fn case(&mut self, position: Option<u32>) -> Result<Expr> {
        let operand = match self.peek() {
            Some(Kind::Word(word)) if word == "when" => None,
            _ => Some(self.expression(0)?),
        };
        let mut branches = Vec::new();
        while self.word("when") {
            let when = self.expression(0)?;
            assert!(self.word("then"));
            branches.push((when, self.expression(0)?));
        }
        let otherwise = if self.word("else") { Some(self.expression(0)?) } else { None };
        assert!(self.word("end"));
        self.resolver.case(operand, branches, otherwise, position)
    }

    fn type_name(&mut self) -> ColumnType {
        let Some(Kind::Word(name)) = self.peek().cloned() else {
            panic!("a type before {:?}", self.peek())
        };
        self.at += 1;
        let mut ty = match name.as_str() {
            "char" => SqlType::Bpchar,
            "boolean" => SqlType::Bool,
            name => SqlType::from_name(name).unwrap_or_else(|| panic!("no type {name}")),
        };
        let mut modifiers = Vec::new();
        if self.symbol("(") {
            while !self.symbol(")") {
                self.symbol(",");
                if let Some(Kind::Number(n)) = self.peek().cloned() {
                    modifiers.push(n.parse::<i32>().expect("a number"));
                }
                self.at += 1;
            }
        }
        let typmod = match (&ty, modifiers.as_slice()) {
            (SqlType::Numeric, [p, s]) => ColumnType::numeric(*p, *s).typmod,
            (SqlType::Numeric, [p]) => ColumnType::numeric(*p, 0).typmod,
            (SqlType::Varchar | SqlType::Bpchar, [n]) => n + 4,
            (_, [n]) => *n,
            _ => -1,
        };
        if self.symbol("[") {
            self.expect("]");
            ty = SqlType::array_of(ty);
        }
        ColumnType::new(ty, typmod)
    }
}
