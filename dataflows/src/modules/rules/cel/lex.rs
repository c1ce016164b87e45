//! Words, numbers, texts and signs of a condition.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Box<str>),
    Int(i64),
    Text(Box<str>),
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 22] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")", "[", "]", ",", ".",
];

/// All tokens, the last of them [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_raw = rest.starts_with(['r', 'R']) && rest[1..].starts_with(['"', '\'']);
        if is_raw || first == '"' || first == '\'' {
            let (token, after) = literal(&rest[usize::from(is_raw)..], is_raw)?;
            tokens.push(Token::Text(token.into()));
            rest = after;
        } else if first.is_ascii_digit() {
            let end = rest.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(rest.len());
            tokens.push(Token::Int(whole_number(&rest[..end])?));
            rest = &rest[end..];
            if rest.starts_with('.') && rest[1..].starts_with(|char: char| char.is_ascii_digit()) {
                return Err("numbers with a decimal point are not known here; there are whole numbers".to_owned());
            }
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].into()));
            rest = &rest[end..];
        } else if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.ok_or_else(|| format!("{first:?} has no meaning here"))?;
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        }
        rest = rest.trim_start();
    }
    tokens.push(Token::End);
    Ok(tokens)
}

fn whole_number(text: &str) -> Result<i64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text}: not a whole number up to {}", i64::MAX))
}

/// The text that begins with the quote at the start of `rest`, and what follows it.
fn literal(rest: &str, is_raw: bool) -> Result<(String, &str), String> {
    let unfinished = || "a text has no end: its quote is missing".to_owned();
    let quote = rest.chars().next().ok_or_else(unfinished)?;
    let mut text = String::new();
    let mut chars = rest[1..].chars();
    loop {
        match chars.next().ok_or_else(unfinished)? {
            char if char == quote => return Ok((text, chars.as_str())),
            '\n' | '\r' => return Err(unfinished()),
            '\\' if !is_raw => text.push(match chars.next().ok_or_else(unfinished)? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                same @ ('\\' | '"' | '\'' | '`' | '?') => same,
                'x' | 'X' => code(&mut chars, 2)?,
                'u' => code(&mut chars, 4)?,
                other => return Err(format!("\\{other} means nothing in a text; for an expression write r'…'")),
            }),
            char => text.push(char),
        }
    }
}

fn code(chars: &mut std::str::Chars<'_>, digits: usize) -> Result<char, String> {
    let text = chars.as_str();
    let digits = text.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
    let (Some(code), Some(digits)) = (code, digits) else {
        return Err("a character is \\x and 2 or \\u and 4 hexadecimal digits".to_owned());
    };
    *chars = text[digits.len()..].chars();
    Ok(code)
}
