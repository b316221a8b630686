// As much JSON as this tool needs.

#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Reads an object whose only member is a string of this name, such as {"text": "…"}. Gives the string in UTF-8, to be
// freed by the caller. False where the input is anything else, or the memory is not enough.
bool json_string_member(const uint8_t *json, size_t length, const char *name, uint8_t **text, size_t *text_length);

#endif
