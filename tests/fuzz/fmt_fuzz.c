// SPDX-License-Identifier: Apache-2.0
/* Any bytes through the formatter: what it writes it writes again, and a policy stays the same policy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/diff.h"
#include "policy/fmt.h"
#include "policy/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void same_policy(const char *before, size_t len, const char *after)
{
	struct pol_model *a = NULL, *b = NULL;
	struct pol_diff diff = { 0 };
	struct diags d = { 0 };
	struct err e = ERR_INIT;
	bool is_policy = pol_parse("a.yaml", before, len, &a, &d) == 0;

	must((pol_parse("a.yaml", after, strlen(after), &b, &d) == 0) == is_policy);
	if (is_policy) {
		must(a->n_rules == b->n_rules && a->n_tests == b->n_tests && a->n_names == b->n_names);
		for (size_t i = 0; i < a->n_rules; i++)
			must(strcmp(a->rule[i].name, b->rule[i].name) == 0 && a->rule[i].flags == b->rule[i].flags &&
			     a->rule[i].rate == b->rule[i].rate && a->rule[i].burst == b->rule[i].burst);
		must(pol_diff_make(a, b, &diff, &e) == 0 ? !diff.n_changes && !diff.n_rules : e.code == -E2BIG);
	}
	pol_diff_fini(&diff);
	pol_free(a);
	pol_free(b);
	diags_fini(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *out = NULL, *again = NULL;
	struct diags d = { 0 };

	if (pol_format("a.yaml", (const char *)data, size, &out, &d) == 0) {
		must(d.n_errors == 0 && strlen(out) && out[strlen(out) - 1] == '\n');
		must(pol_format("a.yaml", out, strlen(out), &again, &d) == 0 && strcmp(out, again) == 0);
		same_policy((const char *)data, size, out);
	} else {
		must(!out && d.n_errors);
	}
	free(out);
	free(again);
	diags_fini(&d);
	return 0;
}
