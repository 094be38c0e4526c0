// SPDX-License-Identifier: Apache-2.0
/* Attributes of one netlink message, as each parser of the overlay room reads them. The first byte chooses. */
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/rtnl.h"
#include "overlay/wg_netlink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint16_t types[] = { 0x20, RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ov_device dev = { 0 };
	struct ov_link link;
	struct ip_prefix p;
	struct nlmsghdr *nlh;

	if (size < 1 || size > OV_NL_BUF)
		return 0;
	/* libmnl looks for attributes up to the aligned end, as the receive buffer has it */
	nlh = calloc(1, MNL_ALIGN(sizeof(*nlh) + size - 1));
	if (!nlh)
		return 0;
	nlh->nlmsg_len = (uint32_t)(sizeof(*nlh) + size - 1);
	nlh->nlmsg_type = types[data[0] & 3];
	memcpy(nlh + 1, data + 1, size - 1);
	if (nlh->nlmsg_type == types[0])
		ov_wgnl_parse(nlh, &dev);
	ov_link_parse(nlh, &link);
	ov_addr_parse(nlh, 7, &p);
	ov_route_parse(nlh, 7, &p);
	ov_device_fini(&dev);
	free(nlh);
	return 0;
}
