/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 messages as RFC 9112 has them, and no other way: what two readers could understand differently is refused,
 * for a proxy stands between two readers. Pure: no sockets, no clock, no memory. Room prefix http_.
 *
 * A head is parsed in place and incrementally: the caller's buffer grows, http_head_parse() goes on where it stopped,
 * and everything it found are offsets, so that the buffer may move. A body is never copied: http_body_next() says how
 * many of the bytes at hand are framing and how many are data.
 *
 * Refused, beside what has no grammar: a bare CR or LF, NUL, obs-fold, blanks around a field name, Content-Length twice
 * or as a list or beside Transfer-Encoding, a transfer coding that is not exactly "chunked", Transfer-Encoding in
 * HTTP/1.0, no Host or two in HTTP/1.1, a fragment or a byte above 0x7e in a target, a Connection option that names
 * what frames or routes. Accepted though it is not the grammar: one empty line before a request, a status line that
 * ends after the code.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_FIELDS_MAX 128
#define HTTP_HEAD_MAX   65535
#define HTTP_METHOD_MAX 32
#define HTTP_LINE_MAX   4096  /* a chunk's size with extensions, or a trailer field */
#define HTTP_EXTRA_MAX  16384 /* all extensions and trailers of a body together */

#define HTTP_ERRORS(X)                                                                                                 \
	X(LINE_END, "a bare CR, LF or NUL")                                                                            \
	X(METHOD, "the method is no token")                                                                            \
	X(TARGET, "the request target")                                                                                \
	X(VERSION, "the version is not HTTP/1.0 or HTTP/1.1")                                                          \
	X(STATUS, "the status line")                                                                                   \
	X(FIELD_NAME, "a field name is no token, or is not followed by a colon")                                       \
	X(FIELD_VALUE, "a control character in a field value")                                                         \
	X(FOLD, "a line that continues a field (obs-fold)")                                                            \
	X(TOO_LONG, "the head is too long")                                                                            \
	X(TOO_MANY, "too many fields")                                                                                 \
	X(HOST, "no Host field, or more than one, or not a host")                                                      \
	X(LENGTH, "Content-Length is not one number")                                                                  \
	X(CODING, "Transfer-Encoding is not \"chunked\"")                                                              \
	X(BOTH, "Content-Length beside Transfer-Encoding")                                                             \
	X(CONNECTION, "Connection is no list of tokens, or names a field of framing")                                  \
	X(EXPECT, "an expectation other than 100-continue")                                                            \
	X(NO_BODY, "a body where the status forbids one")                                                              \
	X(CHUNK, "a chunk's size or end")                                                                              \
	X(CHUNK_EXTRA, "chunk extensions or trailers are too long")                                                    \
	X(TRAILER, "a trailer field that may not be one")

enum http_error {
	HTTP_OK,
#define X(name, text) HTTP_E_##name,
	HTTP_ERRORS(X)
#undef X
		HTTP_E_COUNT
};

const char *http_error_name(enum http_error error); /* "LINE_END" */
const char *http_error_text(enum http_error error);

/* Names that mean something to framing or forwarding; everything else is OTHER. */
enum http_name {
	HTTP_OTHER,
	HTTP_HOST,
	HTTP_CONNECTION,
	HTTP_CONTENT_LENGTH,
	HTTP_TRANSFER_ENCODING,
	HTTP_TE,
	HTTP_UPGRADE,
	HTTP_EXPECT,
	HTTP_KEEP_ALIVE,
	HTTP_PROXY_CONNECTION,
	HTTP_HTTP2_SETTINGS,
};

struct http_span {
	uint16_t at, len;
};

struct http_field {
	struct http_span name, value; /* value without blanks around it */
	uint16_t end;                 /* of the line, after LF */
	uint8_t id;                   /* enum http_name */
	bool is_hop;                  /* named by Connection */
};

enum http_framing { HTTP_NONE, HTTP_LENGTH, HTTP_CHUNKED, HTTP_UNTIL_CLOSE, HTTP_TUNNEL };

struct http_limits {
	uint32_t max_head;   /* at most HTTP_HEAD_MAX */
	uint32_t max_fields; /* at most HTTP_FIELDS_MAX */
};

struct http_head {
	uint32_t scanned; /* whole lines that were parsed */
	uint16_t len;     /* of the head with its empty line; 0: not whole yet */
	uint16_t n_fields;
	bool is_response;
	uint8_t minor; /* HTTP/1.minor */
	uint16_t status;
	struct http_span start;          /* the first line without CRLF */
	struct http_span method, target; /* of a request */
	struct http_span path;           /* target in origin form, also of an absolute one; empty: "/" or CONNECT */
	struct http_span authority;      /* of an absolute target or CONNECT, else Host's value */
	enum http_framing framing;
	uint64_t content_length;
	bool has_host, has_length, has_coding;
	bool is_head, is_connect;
	bool keep_alive; /* by version and Connection */
	bool expects_continue;
	bool wants_upgrade;  /* Connection: upgrade, Upgrade and no body; never to h2c */
	bool takes_trailers; /* TE: trailers */
	struct http_field fields[HTTP_FIELDS_MAX];
};

/* A new request, or a new response. Only what parsing needs is set, fields are not. */
void http_head_init(struct http_head *h, bool is_response);
/*
 * `p[0..len)`: what there is of it, each time from its first byte. 0: not whole yet, or whole when h->len is set;
 * otherwise what is wrong with it. A request's framing is then known; a response's after http_head_answers().
 */
enum http_error http_head_parse(struct http_head *h, const char *p, size_t len, const struct http_limits *limits);
/* RFC 9112 section 6.3: how long the body of a response is depends on what was asked. */
enum http_error http_head_answers(struct http_head *response, bool to_head, bool to_connect);

/* The only field of that name (case does not matter), or the first of *count. NULL: none. */
const struct http_field *http_head_find(const struct http_head *h, const char *p, const char *name, unsigned *count);

/* How many Via fields name `by`: a program that adds a field of its own each time passed it on so often. */
unsigned http_head_hops(const struct http_head *h, const char *p, const char *by);

/* --- bodies --- */

struct http_body {
	enum http_framing framing;
	uint8_t state;
	bool is_done;
	uint32_t extra;              /* bytes of extensions and trailers so far */
	uint64_t left;               /* of the length, or of this chunk */
	const char *const *reserved; /* names that a trailer may not have (http_is_reserved) */
};

void http_body_init(struct http_body *b, const struct http_head *h, const char *const *reserved);
/*
 * The next part of p[0..len): *framing bytes that are not data, then *data bytes that are. Both 0 and not done: more
 * must come. Bytes after the body's end are not looked at. UNTIL_CLOSE and TUNNEL end with the connection, not here.
 */
enum http_error http_body_next(struct http_body *b, const char *p, size_t len, size_t *framing, size_t *data);
/* n bytes of a body of known length, at most those that are left, went another way. */
void http_body_passed(struct http_body *b, uint64_t n);
/* Is the next line a trailer field, or the line that ends them? */
bool http_body_in_trailers(const struct http_body *b);
/* As many bytes as can be passed on as they are, framing and all. */
enum http_error http_body_scan(struct http_body *b, const char *p, size_t len, size_t *whole);

/* --- forwarding --- */

/*
 * Is it one of `names` (NULL-terminated, lower case; one that ends in * is a prefix)? _ counts as -, because what reads
 * fields through CGI's variables can not tell them apart.
 */
bool http_is_reserved(const char *const *names, const char *name, size_t len);

struct http_forward {
	const char *target; /* NULL: its own, in origin form */
	size_t target_len;
	const char *host; /* NULL: its own authority */
	size_t host_len;
	const char *headers; /* lines, each with CRLF */
	size_t headers_len;
	const char *const *reserved; /* dropped from requests */
	const char *via;             /* by whom a request is passed on, as Via has it; NULL: not told */
	bool close;                  /* Connection: close */
	bool keep_alive;             /* Connection: keep-alive, for a client of HTTP/1.0 */
	bool unchunk;                /* the body is passed on without its framing */
};

/* The head as it goes on; what belongs to the connection that it came by is gone. Bytes written, or 0: no room. */
size_t http_forward(const struct http_head *h, const char *p, const struct http_forward *f, char *dst, size_t room);

/* --- HTTP/2 --- */

/*
 * A head of HTTP/2 written down as one of HTTP/1.1, so that one parser, one policy and one set of rules judge both.
 * What RFC 9113 (8.2, 8.3) calls malformed is refused here, field by field, whatever the library before it let through:
 * the text that comes out has as many lines as there were fields, and no byte of a value can become a line.
 */
enum http2_kind { HTTP2_REQUEST, HTTP2_RESPONSE, HTTP2_TRAILERS };

struct http2_head {
	enum http2_kind kind;
	enum http_error error; /* sticky */
	char *p;               /* the text; the caller's */
	size_t len, room, top; /* p[top..room): pseudo-fields until the first line is written */
	unsigned n_fields, max_fields;
	uint16_t status;
	struct {
		size_t at, len;
	} method, path, authority;
	size_t cookie; /* end of the one Cookie line; 0: none */
	char length[20];
	bool has_scheme, has_line, has_host, has_length, takes_trailers;
	bool is_connect; /* the method is: refused with METHOD */
	bool is_grpc;    /* by its Content-Type */
	bool is_chunked; /* out: the text says so, and a body follows in chunks */
};

void http2_head_init(struct http2_head *b, enum http2_kind kind, char *p, size_t room, unsigned max_fields);
void http2_head_field(struct http2_head *b, const char *name, size_t name_len, const char *value, size_t len);
/*
 * Whole: has_body: more than this head comes. to_head: a response to HEAD. The text is p[0..b->len) with its empty
 * line, trailers without. A body of gRPC is chunked even where its length was told, so that trailers can follow.
 */
enum http_error http2_head_end(struct http2_head *b, bool has_body, bool to_head);
