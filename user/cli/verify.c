// SPDX-License-Identifier: Apache-2.0
#include "verify.h"

#include <getopt.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "evidence/policy_file.h"
#include "identity/collateral.h"

bool verify_option(struct verify_args *args, int c)
{
	switch (c) {
	case 'r':
		args->ev.root = optarg;
		return true;
	case 's':
		return args->ev.allow_simulated = true;
	case 'a':
		return args->ev.has_at = ev_int(optarg, 0, INT64_MAX, &args->ev.at_s);
	case 'j':
		return args->ev.is_json = true;
	case 'p':
		args->policy = optarg;
		return true;
	case 'c':
		if (args->collateral.n == VERIFY_FILES_MAX)
			return false;
		args->collateral.path[args->collateral.n++] = optarg;
		return true;
	default:
		return false;
	}
}

int verify_trust_open(const struct verify_args *args, struct verify_trust *t, struct err *e)
{
	int ret;

	*t = (struct verify_trust){ 0 };
	ret = ev_trust(&args->ev, &t->trust, &t->roots, e);
	if (!ret && args->policy)
		ret = evp_load(args->policy, &t->policy, e);
	if (!ret)
		ret = id_collaterals_new(NULL, 0, &t->trust.collaterals, e);
	t->trust.policy = args->policy ? &t->policy : NULL;
	if (ret < 0)
		verify_trust_fini(t);
	return ret;
}

void verify_trust_fini(struct verify_trust *t)
{
	id_collaterals_free(t->trust.collaterals);
	free(t->roots);
	*t = (struct verify_trust){ 0 };
}

int verify_collateral_read(const struct verify_files *files, struct id_collaterals *set, struct err *e)
{
	for (size_t i = 0; i < files->n; i++) {
		auto_free char *data = NULL;
		size_t len;
		int ret = file_read_arg(files->path[i], VERIFY_FILE_MAX, &data, &len, e);

		if (!ret)
			ret = id_collaterals_add(set, data, len, e);
		if (ret < 0)
			return e->reason ? err_wrap(e, "%s", files->path[i]) : ret;
	}
	return 0;
}
