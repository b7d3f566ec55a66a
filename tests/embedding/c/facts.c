#include "facts.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// Reading. Each reader parses one type from the text into `out`, which holds a bool before.
// The caller can delete `out` after success and after failure.

struct source {
  const char *at, *end;
  char *problem;
};

typedef bool reader(struct source *, value *out);

static bool fail(struct source *from, const char *rule) {
  if (*from->problem == 0)
    snprintf(from->problem, 200, "%s, %zu bytes before the end", rule,
             (size_t)(from->end - from->at));
  return false;
}

static void *allocate(void *old, size_t count, size_t size) {
  void *found = realloc(old, (count + 1) * size);
  if (!found) abort();
  return found;
}

static void skip_space(struct source *from) {
  while (from->at < from->end && strchr(" \t\r\n", *from->at) && *from->at) from->at++;
}

static bool take(struct source *from, const char *token) {
  size_t size = strlen(token);
  skip_space(from);
  if ((size_t)(from->end - from->at) < size || memcmp(from->at, token, size)) return false;
  from->at += size;
  return true;
}

static bool expect(struct source *from, const char *token) {
  return take(from, token) || fail(from, "the JSON is malformed");
}

// The length of the UTF-8 character at `at`; 0 if it is none.
static size_t utf8_size(const char *at, const char *end) {
  const unsigned char *byte = (const unsigned char *)at;
  size_t size = *byte < 0x80 ? 1 : *byte < 0xc2 ? 0 : *byte < 0xe0 ? 2 : *byte < 0xf0 ? 3
              : *byte < 0xf5 ? 4 : 0;
  if ((size_t)(end - at) < size) return 0;
  for (size_t i = 1; i < size; i++)
    if ((byte[i] & 0xc0) != 0x80) return 0;
  if ((*byte == 0xe0 && byte[1] < 0xa0) || (*byte == 0xed && byte[1] > 0x9f)) return 0;
  if ((*byte == 0xf0 && byte[1] < 0x90) || (*byte == 0xf4 && byte[1] > 0x8f)) return 0;
  return size;
}

static size_t utf8_encode(uint32_t character, char *out) {
  if (character < 0x80) return out[0] = (char)character, 1;
  size_t size = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
  for (size_t i = size - 1; i > 0; i--, character >>= 6) out[i] = (char)(0x80 | (character & 0x3f));
  out[0] = (char)((size == 2 ? 0xc0 : size == 3 ? 0xe0 : 0xf0) | character);
  return size;
}

static bool four_digits(struct source *from, uint32_t *out) {
  *out = 0;
  for (int i = 0; i < 4; i++, from->at++) {
    const char *digits = "0123456789abcdef", *digit = NULL;
    if (from->at < from->end && *from->at) digit = strchr(digits, *from->at | 0x20);
    if (!digit || (*from->at >= 0x10 && *from->at < 0x30)) return fail(from, "an escape is malformed");
    *out = *out << 4 | (uint32_t)(digit - digits);
  }
  return true;
}

static bool unescape(struct source *from, char *out, size_t *size) {
  static const char marks[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  if (from->at == from->end || !*from->at) return fail(from, "a string does not end");
  const char *mark = strchr(marks, *from->at);
  if (mark) {
    out[(*size)++] = meant[mark - marks];
    from->at++;
    return true;
  }
  uint32_t high, low;
  if (*from->at++ != 'u') return fail(from, "an escape is malformed");
  if (!four_digits(from, &high)) return false;
  if (high >= 0xd800 && high < 0xe000) {
    bool pair = high < 0xdc00 && from->end - from->at > 2 && !memcmp(from->at, "\\u", 2);
    if (!pair) return fail(from, "a string has half a character");
    from->at += 2;
    if (!four_digits(from, &low)) return false;
    if (low < 0xdc00 || low > 0xdfff) return fail(from, "a string has half a character");
    high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
  }
  *size += utf8_encode(high, out + *size);
  return true;
}

static bool read_text(struct source *from, value *out) {
  if (!take(from, "\"")) return fail(from, "a string is expected");
  // What is unescaped is never longer than what is read.
  char *text = allocate(NULL, (size_t)(from->end - from->at), 1);
  size_t size = 0;
  bool good = true, ended = false;
  while (good && !ended) {
    size_t width = from->at < from->end ? utf8_size(from->at, from->end) : 0;
    if (width == 0 || (width == 1 && (unsigned char)*from->at < 0x20)) {
      good = fail(from, "a string is malformed");
    } else if (*from->at == '"') {
      ended = true;
      from->at++;
    } else if (*from->at == '\\') {
      from->at++;
      good = unescape(from, text, &size);
    } else {
      memcpy(text + size, from->at, width);
      size += width;
      from->at += width;
    }
  }
  if (good) {
    wasm_byte_vec_new(&out->of.string, size, text);
    out->kind = WASMTIME_COMPONENT_STRING;
  }
  free(text);
  return good;
}

static bool read_bool(struct source *from, value *out) {
  out->of.boolean = take(from, "true");
  return out->of.boolean || take(from, "false") || fail(from, "true or false is expected");
}

static bool read_whole(struct source *from, uint64_t most, uint64_t *out) {
  skip_space(from);
  const char *start = from->at;
  *out = 0;
  for (; from->at < from->end && *from->at >= '0' && *from->at <= '9'; from->at++) {
    uint64_t digit = (uint64_t)(*from->at - '0');
    if (*out > (most - digit) / 10 || (*start == '0' && from->at > start))
      return fail(from, "a number does not fit");
    *out = *out * 10 + digit;
  }
  if (from->at == start || (from->at < from->end && *from->at && strchr(".eE", *from->at)))
    return fail(from, "a whole number is expected");
  return true;
}

static bool read_u64(struct source *from, value *out) {
  uint64_t number;
  if (!read_whole(from, UINT64_MAX, &number)) return false;
  out->kind = WASMTIME_COMPONENT_U64;
  out->of.u64 = number;
  return true;
}

static bool read_u32(struct source *from, value *out) {
  uint64_t number;
  if (!read_whole(from, UINT32_MAX, &number)) return false;
  out->kind = WASMTIME_COMPONENT_U32;
  out->of.u32 = (uint32_t)number;
  return true;
}

static bool is_text(const value *string, const char *text) {
  return string->of.string.size == strlen(text) &&
         !memcmp(string->of.string.data, text, string->of.string.size);
}

// The elements of a list or the members of an object, up to the closing mark.
static bool read_elements(struct source *from, const char *open, const char *close, reader *read,
                          value *out) {
  value *items = NULL;
  size_t count = 0;
  bool good = expect(from, open);
  if (good && !take(from, close)) {
    do {
      items = allocate(items, count, sizeof *items);
      items[count] = (value){.kind = WASMTIME_COMPONENT_BOOL};
      good = read(from, &items[count++]);
    } while (good && take(from, ","));
    good = good && expect(from, close);
  }
  wasmtime_component_vallist_new(&out->of.list, count, items);
  out->kind = WASMTIME_COMPONENT_LIST;
  free(items);
  return good;
}

static bool read_texts(struct source *from, value *out) {
  return read_elements(from, "[", "]", read_text, out);
}

static bool read_pair(struct source *from, value *out) {
  wasmtime_component_valtuple_new_uninit(&out->of.tuple, 2);
  out->kind = WASMTIME_COMPONENT_TUPLE;
  value *pair = out->of.tuple.data;
  pair[0] = pair[1] = (value){.kind = WASMTIME_COMPONENT_BOOL};
  return read_text(from, &pair[0]) && expect(from, ":") && read_text(from, &pair[1]);
}

static bool read_attributes(struct source *from, value *out) {
  if (!read_elements(from, "{", "}", read_pair, out)) return false;
  for (size_t i = 0; i < out->of.list.size; i++)
    for (size_t j = 0; j < i; j++) {
      wasm_name_t *a = &out->of.list.data[i].of.tuple.data[0].of.string;
      wasm_name_t *b = &out->of.list.data[j].of.tuple.data[0].of.string;
      if (a->size == b->size && !memcmp(a->data, b->data, a->size))
        return fail(from, "an attribute occurs twice");
    }
  return true;
}

// Null means the same as absence.
static bool read_option(struct source *from, value *out, reader *read) {
  value inner = {.kind = WASMTIME_COMPONENT_BOOL};
  bool none = take(from, "null");
  bool good = none || read(from, &inner);
  out->kind = WASMTIME_COMPONENT_OPTION;
  out->of.option = none ? NULL : wasmtime_component_val_new(&inner);
  return good;
}

static bool read_option_text(struct source *from, value *out) {
  return read_option(from, out, read_text);
}
static bool read_option_texts(struct source *from, value *out) {
  return read_option(from, out, read_texts);
}
static bool read_option_u64(struct source *from, value *out) {
  return read_option(from, out, read_u64);
}

// A case without a payload, of an enum or a variant.
static bool read_case(struct source *from, value *out, const char *const *cases, uint8_t kind) {
  value name = {.kind = WASMTIME_COMPONENT_BOOL};
  if (!read_text(from, &name)) return false;
  for (; *cases && !is_text(&name, *cases); cases++) {}
  if (!*cases) {
    wasmtime_component_val_delete(&name);
    return fail(from, "a case is unknown");
  }
  out->kind = kind;
  if (kind == WASMTIME_COMPONENT_ENUM) out->of.enumeration = name.of.string;
  else out->of.variant = (wasmtime_component_valvariant_t){name.of.string, NULL};
  return true;
}

static bool read_inheritance(struct source *from, value *out) {
  static const char *const cases[] = {"isolated", "inherit", "fall-back", NULL};
  return read_case(from, out, cases, WASMTIME_COMPONENT_ENUM);
}

static bool read_sharing(struct source *from, value *out) {
  static const char *const cases[] = {"all", "none", NULL};
  if (!take(from, "{")) return read_case(from, out, cases, WASMTIME_COMPONENT_VARIANT);
  if (!expect(from, "\"paths\"") || !expect(from, ":")) return false;
  value paths = {.kind = WASMTIME_COMPONENT_BOOL};
  bool good = read_texts(from, &paths);
  out->kind = WASMTIME_COMPONENT_VARIANT;
  wasm_byte_vec_new(&out->of.variant.discriminant, strlen("paths"), "paths");
  out->of.variant.val = wasmtime_component_val_new(&paths);
  return good && expect(from, "}");
}

// Records. A field that is absent has the JSON `otherwise`; NULL: it must be there.

struct field {
  const char *json, *wit;
  reader *read;
  const char *otherwise;
};

static bool read_member(struct source *from, value *record, const struct field *fields,
                        size_t count, bool seen[]) {
  value name = {.kind = WASMTIME_COMPONENT_BOOL};
  if (!read_text(from, &name)) return false;
  size_t which = 0;
  while (which < count && !(fields[which].json && is_text(&name, fields[which].json))) which++;
  wasmtime_component_val_delete(&name);
  if (which == count) return fail(from, "a field is not of the contract");
  if (seen[which]) return fail(from, "a field occurs twice");
  seen[which] = true;
  return expect(from, ":") && fields[which].read(from, &record->of.record.data[which].val);
}

static bool read_record(struct source *from, value *out, const struct field *fields, size_t count) {
  bool seen[16] = {false};
  wasmtime_component_valrecord_new_uninit(&out->of.record, count);
  out->kind = WASMTIME_COMPONENT_RECORD;
  for (size_t i = 0; i < count; i++) {
    wasm_byte_vec_new(&out->of.record.data[i].name, strlen(fields[i].wit), fields[i].wit);
    out->of.record.data[i].val = (value){.kind = WASMTIME_COMPONENT_BOOL};
  }
  if (!expect(from, "{")) return false;
  if (!take(from, "}")) {
    do {
      if (!read_member(from, out, fields, count, seen)) return false;
    } while (take(from, ","));
    if (!expect(from, "}")) return false;
  }
  for (size_t i = 0; i < count; i++) {
    if (seen[i]) continue;
    const char *json = fields[i].otherwise;
    if (!json) return fail(from, "a field is missing");
    struct source otherwise = {json, json + strlen(json), from->problem};
    if (!fields[i].read(&otherwise, &out->of.record.data[i].val)) return false;
  }
  return true;
}

#define RECORD(name, ...)                                              \
  static bool name(struct source *from, value *out) {                  \
    static const struct field fields[] = {__VA_ARGS__};                \
    return read_record(from, out, fields, sizeof fields / sizeof *fields); \
  }

RECORD(read_credential,
       {"id", "id", read_text, NULL},
       {"name", "name", read_text, NULL},
       {"enabled", "enabled", read_bool, "true"},
       {"readable", "readable", read_bool, "true"},
       {"expires_at_ms", "expires-at-ms", read_option_u64, "null"},
       {"models", "models", read_option_texts, "null"},
       {"sharing", "sharing", read_sharing, "\"all\""},
       {"mandatory", "mandatory", read_bool, "false"},
       {"priority", "priority", read_u32, "0"},
       {"attributes", "attributes", read_attributes, "{}"})

static bool read_credentials(struct source *from, value *out) {
  return read_elements(from, "[", "]", read_credential, out);
}

RECORD(read_scope,
       {"path", "path", read_text, NULL},
       {"inheritance", "inheritance", read_inheritance, "\"isolated\""},
       {"default_model", "default-model", read_option_text, "null"},
       {"credentials", "credentials", read_credentials, "[]"},
       {"attributes", "attributes", read_attributes, "{}"})

// `settings` is not of the facts: a field that no name in JSON reaches.
RECORD(read_request,
       {"provider", "provider", read_text, NULL},
       {"model", "model", read_option_text, "null"},
       {"credential", "credential", read_option_text, "null"},
       {"principal", "principal", read_text, "\"\""},
       {"now_ms", "now-ms", read_u64, NULL},
       {NULL, "settings", read_text, "\"{}\""},
       {"attributes", "attributes", read_attributes, "{}"})

static bool read_chain(struct source *from, value *out) {
  return read_elements(from, "[", "]", read_scope, out);
}

RECORD(read_both,
       {"request", "request", read_request, NULL},
       {"chain", "chain", read_chain, NULL})

bool read_facts(const char *text, size_t size, value arguments[2], char problem[200]) {
  struct source from = {text, text + size, problem};
  value facts = {.kind = WASMTIME_COMPONENT_BOOL};
  problem[0] = 0;
  bool good = read_both(&from, &facts);
  skip_space(&from);
  if (good && from.at != from.end) good = fail(&from, "the text goes on after the facts");
  for (size_t i = 0; i < 2; i++) {
    arguments[i] = (value){.kind = WASMTIME_COMPONENT_BOOL};
    if (!good) continue;
    value taken = arguments[i];
    arguments[i] = facts.of.record.data[i].val;
    facts.of.record.data[i].val = taken;
  }
  wasmtime_component_val_delete(&facts);
  return good;
}

// Writing.

static void write_bytes(FILE *out, const char *text, size_t size) {
  fputc('"', out);
  for (size_t i = 0; i < size; i++) {
    unsigned char byte = (unsigned char)text[i];
    if (byte < 0x20) fprintf(out, "\\u%04x", byte);
    else if (byte == '"' || byte == '\\') fprintf(out, "\\%c", byte);
    else fputc(byte, out);
  }
  fputc('"', out);
}

static void write_name(FILE *out, const wasm_name_t *text) {
  write_bytes(out, text->data, text->size);
}

void write_texts(FILE *out, const char *name, const char *text, const char *name2,
                 const char *text2) {
  fprintf(out, "{\"%s\":", name);
  write_bytes(out, text, strlen(text));
  if (name2) {
    fprintf(out, ",\"%s\":", name2);
    write_bytes(out, text2, strlen(text2));
  }
  fputs("}\n", out);
}

static const value *field(const value *record, const char *name) {
  for (size_t i = 0; i < record->of.record.size; i++) {
    wasmtime_component_valrecord_entry_t *entry = &record->of.record.data[i];
    if (entry->name.size == strlen(name) && !memcmp(entry->name.data, name, entry->name.size))
      return &entry->val;
  }
  abort();  // The component's type was checked when it was instantiated.
}

static void write_field(FILE *out, const char *before, const value *record, const char *name) {
  fprintf(out, "%s\"%s\":", before, name);
  write_name(out, &field(record, name)->of.string);
}

static void write_attributes(FILE *out, const value *record) {
  const wasmtime_component_vallist_t *list = &field(record, "attributes")->of.list;
  for (size_t i = 0; i < list->size; i++) {
    fputs(i ? "," : ",\"attributes\":{", out);
    write_name(out, &list->data[i].of.tuple.data[0].of.string);
    fputc(':', out);
    write_name(out, &list->data[i].of.tuple.data[1].of.string);
  }
  if (list->size) fputc('}', out);
}

static void write_outcome(FILE *out, const wasmtime_component_valvariant_t *outcome) {
  fputc('{', out);
  write_name(out, &outcome->discriminant);
  const value *chosen = outcome->val;
  if (outcome->discriminant.size != strlen("granted") ||
      memcmp(outcome->discriminant.data, "granted", strlen("granted"))) {
    write_field(out, ":{", chosen, "code");
    write_field(out, ",", chosen, "message");
  } else {
    write_field(out, ":{", chosen, "credential");
    const wasmtime_component_vallist_t *alternates = &field(chosen, "alternates")->of.list;
    for (size_t i = 0; i < alternates->size; i++) {
      fputs(i ? "," : ",\"alternates\":[", out);
      write_name(out, &alternates->data[i].of.string);
    }
    if (alternates->size) fputc(']', out);
    const value *model = field(chosen, "model")->of.option;
    if (model) {
      fputs(",\"model\":", out);
      write_name(out, &model->of.string);
    }
  }
  fputc('}', out);
}

void write_result(FILE *out, value *result) {
  const value *inner = result->of.result.val;
  if (result->of.result.is_ok) {
    write_outcome(out, &field(inner, "outcome")->of.variant);
    fputs(",\"trail\":[", out);
    const wasmtime_component_vallist_t *trail = &field(inner, "trail")->of.list;
    for (size_t i = 0; i < trail->size; i++) {
      write_field(out, i ? ",{" : "{", &trail->data[i], "credential");
      write_field(out, ",", &trail->data[i], "code");
      write_attributes(out, &trail->data[i]);
      fputc('}', out);
    }
    fputc(']', out);
    write_attributes(out, inner);
    fputs("}\n", out);
  } else {
    fputs("{\"error\":", out);
    write_name(out, &inner->of.variant.discriminant);
    fputs(",\"message\":", out);
    write_name(out, &inner->of.variant.val->of.string);
    fputs("}\n", out);
  }
  wasmtime_component_val_delete(result);
}
