// SPDX-License-Identifier: Apache-2.0
/* RFC 7468, strictly: nothing but certificates, LF at the ends of lines. */
#include <string.h>

#include "base/text.h"
#include "pki.h"

#define BEGIN    "-----BEGIN CERTIFICATE-----\n"
#define END      "-----END CERTIFICATE-----"
#define TEXT_MAX (ID_PKI_CERT_MAX / 3 * 4 + 4)

static bool skip(struct in *in, const char *text)
{
	size_t len = strlen(text);

	if (in->left < len || memcmp(in->p, text, len) != 0)
		return false;
	*in = in_of(in->p + len, in->left - len);
	return true;
}

/* The base64 text up to the END line, without line ends. */
static bool body(struct in *in, char text[TEXT_MAX], size_t *len)
{
	size_t n = 0;

	while (in->left && in->p[0] != '-') {
		const uint8_t *end = memchr(in->p, '\n', in->left);
		size_t line = end ? (size_t)(end - in->p) : 0;

		if (!line || n + line > TEXT_MAX)
			return false;
		memcpy(text + n, in->p, line);
		n += line;
		*in = in_of(end + 1, in->left - line - 1);
	}
	*len = n;
	return n && skip(in, END);
}

int id_pki_pem(const char *pem, size_t len, uint8_t *der, size_t cap, struct in *cert, int max)
{
	struct in in = in_of(pem, len);
	char text[TEXT_MAX];
	size_t text_len, der_len;
	int n = 0;

	while (in.left && in.p[0] == '-') {
		if (n == max || !skip(&in, BEGIN) || !body(&in, text, &text_len) ||
		    !base64_parse(der, cap, &der_len, text, text_len))
			return -1;
		cert[n++] = in_of(der, der_len);
		der += der_len;
		cap -= der_len;
		if (in.left && !skip(&in, "\n") && in.p[0])
			return -1;
	}
	if (in.left == 1 && !in.p[0]) /* Intel's quoting service ends the text with a NUL */
		in.left = 0;
	return in.left ? -1 : n;
}
