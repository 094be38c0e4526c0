/* SPDX-License-Identifier: Apache-2.0 */
/* What stands behind the handle of one device. */
#pragma once

#include "model.h"
#include "rtnl.h"

struct ov {
	char name[IF_NAMESIZE];
	unsigned ifindex;
	enum ov_backend backend;
	struct ov_nl nl;
	struct ov_asked_list asked; /* endpoints of the last apply */
};
