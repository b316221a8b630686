#include "json.h"

#include <stdlib.h>
#include <string.h>

// What is left to read.
struct reader {
    const uint8_t *at, *end;
};

static void skip_space(struct reader *reader) {
    while (reader->at < reader->end && memchr(" \t\n\r", *reader->at, 4) != NULL) {
        reader->at++;
    }
}

// Takes this one character, after any white space.
static bool take(struct reader *reader, uint8_t wanted) {
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != wanted) {
        return false;
    }
    reader->at++;
    return true;
}

// The four digits of \uXXXX.
static bool hex4(struct reader *reader, uint32_t *number) {
    if (reader->end - reader->at < 4) {
        return false;
    }
    *number = 0;
    for (int digit = 0; digit < 4; digit++) {
        uint8_t c = *reader->at++;
        uint32_t value;
        if (c >= '0' && c <= '9') {
            value = c - '0';
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            value = (c | 0x20) - 'a' + 10;
        } else {
            return false;
        }
        *number = *number << 4 | value;
    }
    return true;
}

// A character outside the first 65536 is written as two of these; half of such a pair is no character.
static bool unicode_escape(struct reader *reader, uint32_t *character) {
    uint32_t low;
    if (!hex4(reader, character)) {
        return false;
    }
    if (*character < 0xd800 || *character > 0xdfff) {
        return true;
    }
    if (*character > 0xdbff || reader->end - reader->at < 2 || memcmp(reader->at, "\\u", 2) != 0) {
        return false;
    }
    reader->at += 2;
    if (!hex4(reader, &low) || low < 0xdc00 || low > 0xdfff) {
        return false;
    }
    *character = 0x10000 + ((*character - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

static bool escape(struct reader *reader, uint32_t *character) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (reader->at == reader->end) {
        return false;
    }
    uint8_t letter = *reader->at++;
    if (letter == 'u') {
        return unicode_escape(reader, character);
    }
    const char *found = memchr(letters, letter, sizeof letters - 1);
    if (found == NULL) {
        return false;
    }
    *character = (uint8_t)meanings[found - letters];
    return true;
}

static uint8_t *put_utf8(uint8_t *out, uint32_t character) {
    if (character < 0x80) {
        *out++ = (uint8_t)character;
        return out;
    }
    int more = character < 0x800 ? 1 : character < 0x10000 ? 2 : 3;
    static const uint8_t first[] = {0, 0xc0, 0xe0, 0xf0};
    *out++ = first[more] | (uint8_t)(character >> (6 * more));
    while (more-- > 0) {
        *out++ = 0x80 | ((character >> (6 * more)) & 0x3f);
    }
    return out;
}

// A string after any white space. No escape is shorter than what it stands for, so what is left to read is room enough.
static bool string(struct reader *reader, uint8_t **text, size_t *length) {
    if (!take(reader, '"')) {
        return false;
    }
    uint8_t *out = malloc((size_t)(reader->end - reader->at) + 1);
    uint8_t *next = out;
    while (out != NULL && reader->at < reader->end) {
        uint8_t byte = *reader->at++;
        uint32_t character;
        if (byte == '"') {
            *text = out;
            *length = (size_t)(next - out);
            return true;
        } else if (byte != '\\') {
            *next++ = byte;
        } else if (escape(reader, &character)) {
            next = put_utf8(next, character);
        } else {
            break;
        }
    }
    free(out);
    return false;
}

bool json_string_member(const uint8_t *json, size_t length, const char *name, uint8_t **text, size_t *text_length) {
    struct reader reader = {json, json + length};
    uint8_t *key;
    size_t key_length;
    if (!take(&reader, '{') || !string(&reader, &key, &key_length)) {
        return false;
    }
    bool is_wanted = key_length == strlen(name) && memcmp(key, name, key_length) == 0;
    free(key);
    if (!is_wanted || !take(&reader, ':') || !string(&reader, text, text_length)) {
        return false;
    }
    bool ended = take(&reader, '}');
    skip_space(&reader);
    if (!ended || reader.at != reader.end) {
        free(*text);
        return false;
    }
    return true;
}
