//! From what is drawn to what is read: letters that were joined come apart, and Hebrew and Arabic get their order. A page's strings stand where they are seen, from left to right; these are read from right to left.

use unicode_normalization::UnicodeNormalization as _;

/// The line as it is read, of one whose characters are in the order in which they stand.
pub(crate) fn as_read(line: &str) -> String {
    let leftward = line.chars().filter(|c| is_leftward(*c)).count();
    if leftward == 0 {
        return line.chars().flat_map(apart).collect();
    }
    let mut signs: Vec<char> = line.chars().collect();
    let rightward = signs.iter().filter(|c| is_rightward(**c)).count();
    let is_joint = joints(&signs);
    if leftward > rightward {
        turn(&mut signs);
        // Words of other languages, and numbers, are read the usual way in between.
        for stretch in signs.split_mut(|c| is_leftward(*c)) {
            turn_back(stretch, is_joint);
        }
    } else {
        for stretch in signs.split_mut(|c| is_rightward(*c)) {
            let (first, last) =
                (stretch.iter().position(|c| is_leftward(*c)), stretch.iter().rposition(|c| is_leftward(*c)));
            if let (Some(first), Some(last)) = (first, last)
                && let Some(stretch) = stretch.get_mut(first..=last)
            {
                turn(stretch);
                turn_numbers(stretch, is_joint);
            }
        }
    }
    signs.into_iter().flat_map(apart).collect()
}

/// The letters that a printer has drawn as one, or in the form that they have within a word.
fn apart(c: char) -> impl Iterator<Item = char> {
    let is_form = matches!(c, '\u{fb00}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}');
    let letters = is_form.then(|| std::iter::once(c).nfkc());
    letters.into_iter().flatten().chain((!is_form).then_some(c))
}

/// Turns the words of a line that was turned, with the numbers that were drawn after them and belong to them, and each other number
/// by itself: words of another language go on to the right, and numbers beside each other to the left.
fn turn_back(signs: &mut [char], is_joint: fn(char) -> bool) {
    let end = signs.iter().rposition(|c| is_rightward(*c)).map_or(0, |last| number_end(signs, last + 1, is_joint));
    let (words, rest) = signs.split_at_mut(end);
    if let Some(first) = words.iter().position(|c| is_rightward(*c) || c.is_numeric())
        && let Some(words) = words.get_mut(first..)
    {
        turn(words);
    }
    turn_numbers(rest, is_joint);
}

fn turn_numbers(signs: &mut [char], is_joint: fn(char) -> bool) {
    let mut at = 0;
    while at < signs.len() {
        let end = number_end(signs, at, is_joint);
        if let Some(number) = signs.get_mut(at..end) {
            turn(number);
        }
        at = end.max(at + 1);
    }
}

/// Where the number ends that begins at a place; that place, where none does.
fn number_end(signs: &[char], at: usize, is_joint: fn(char) -> bool) -> usize {
    let is_digit = |n: usize| signs.get(n).is_some_and(|c| c.is_numeric());
    let mut end = at;
    loop {
        match signs.get(end) {
            Some(c) if c.is_numeric() => end += 1,
            Some(c) if end > at && is_joint(*c) && is_digit(end + 1) => end += 1,
            _ => return end,
        }
    }
}

/// The signs that join digits to one number: in Hebrew a hyphen does, too, and in Arabic it stands between two.
fn joints(line: &[char]) -> fn(char) -> bool {
    let is_hebrew = |c: char| matches!(c, '\u{590}'..='\u{5ff}' | '\u{fb1d}'..='\u{fb4f}');
    match line.iter().all(|c| !is_leftward(*c) || is_hebrew(*c)) {
        true => |c| matches!(c, '.' | ',' | '/' | ':' | '-' | '+'),
        false => |c| matches!(c, '.' | ',' | '/' | ':' | '\u{66b}' | '\u{66c}'),
    }
}

/// Turns what is read from the other side, and its brackets, which look the other way then.
fn turn(signs: &mut [char]) {
    signs.reverse();
    for sign in signs {
        *sign = match *sign {
            '(' => ')',
            ')' => '(',
            '[' => ']',
            ']' => '[',
            '{' => '}',
            '}' => '{',
            '<' => '>',
            '>' => '<',
            '«' => '»',
            '»' => '«',
            other => other,
        };
    }
}

fn is_leftward(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{65f}' | '\u{66d}'..='\u{6ef}' | '\u{6fa}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}')
}

fn is_rightward(c: char) -> bool {
    c.is_alphabetic() && !is_leftward(c)
}
