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
    if leftward > rightward {
        turn(&mut signs);
        // Words of other languages, and numbers, are read the usual way in between.
        turn_each(&mut signs, |c| is_rightward(c) || c.is_numeric());
    } else {
        turn_each(&mut signs, is_leftward);
    }
    signs.into_iter().flat_map(apart).collect()
}

/// The letters that a printer has drawn as one, or in the form that they have within a word.
fn apart(c: char) -> impl Iterator<Item = char> {
    let is_form = matches!(c, '\u{fb00}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}');
    let letters = is_form.then(|| std::iter::once(c).nfkc());
    letters.into_iter().flatten().chain((!is_form).then_some(c))
}

/// Turns each stretch that begins and ends with such a sign, with what stands between two of them.
fn turn_each(signs: &mut [char], is: impl Fn(char) -> bool) {
    let is_other = |c: &char| !is(*c) && (is_leftward(*c) || is_rightward(*c));
    for stretch in signs.split_mut(is_other) {
        let (first, last) = (stretch.iter().position(|c| is(*c)), stretch.iter().rposition(|c| is(*c)));
        if let (Some(first), Some(last)) = (first, last)
            && let Some(stretch) = stretch.get_mut(first..=last)
        {
            turn(stretch);
        }
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
