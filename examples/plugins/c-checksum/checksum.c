// A tool for Vivarium: counts a text and sums it up, so that two copies can be compared.
//
// Everything that is allocated here and handed out, the generated code frees after the host has read it.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/checksum.h"
#include "json.h"

typedef checksum_string_t string;
typedef exports_vivarium_plugin_tool_tool_error_t tool_error;

struct counts {
    size_t bytes, characters, words, lines;
    uint32_t crc32;
};

// CRC-32 as zip, gzip and PNG have it: bit by bit, because a table costs a component more than it gives one short text.
static uint32_t crc32_of(const uint8_t *bytes, size_t length) {
    uint32_t crc = 0xffffffff;
    for (size_t at = 0; at < length; at++) {
        crc ^= bytes[at];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xedb88320 & -(crc & 1));
        }
    }
    return ~crc;
}

static bool is_space(uint8_t byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static struct counts count(const uint8_t *text, size_t length) {
    struct counts counts = {.bytes = length, .crc32 = crc32_of(text, length)};
    bool in_word = false;
    for (size_t at = 0; at < length; at++) {
        // Of UTF-8, every byte but the continuing ones begins a character.
        counts.characters += (text[at] & 0xc0) != 0x80;
        counts.lines += text[at] == '\n';
        counts.words += !in_word && !is_space(text[at]);
        in_word = !is_space(text[at]);
    }
    // The last line counts whether or not it is ended.
    counts.lines += length > 0 && text[length - 1] != '\n';
    return counts;
}

// `val` is a union of strings: whichever the tag names, its text stands in the same place.
static bool refuse(tool_error *error, uint8_t tag, const char *sentence) {
    error->tag = tag;
    checksum_string_dup(&error->val.failed, sentence);
    return false;
}

bool exports_vivarium_plugin_tool_call(
    string *name,
    string *arguments_json,
    exports_vivarium_plugin_tool_context_t *context,
    exports_vivarium_plugin_tool_output_t *output,
    tool_error *error
) {
    (void)context;
    if (name->len != strlen("checksum") || memcmp(name->ptr, "checksum", name->len) != 0) {
        return refuse(error, EXPORTS_VIVARIUM_PLUGIN_TOOL_TOOL_ERROR_UNKNOWN_TOOL, "this component has checksum only");
    }
    uint8_t *text;
    size_t length;
    if (!json_string_member(arguments_json->ptr, arguments_json->len, "text", &text, &length)) {
        return refuse(
            error,
            EXPORTS_VIVARIUM_PLUGIN_TOOL_TOOL_ERROR_INVALID_ARGUMENTS,
            "the arguments must be {\"text\": \"…\"}"
        );
    }
    struct counts counts = count(text, length);
    free(text);
    char json[160];
    snprintf(
        json,
        sizeof json,
        "{\"bytes\":%zu,\"characters\":%zu,\"words\":%zu,\"lines\":%zu,\"crc32\":\"%08x\"}",
        counts.bytes,
        counts.characters,
        counts.words,
        counts.lines,
        (unsigned)counts.crc32
    );
    checksum_string_dup(&output->content, json);
    output->documents.ptr = NULL;
    output->documents.len = 0;
    return true;
}
