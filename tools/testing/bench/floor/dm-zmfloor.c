// SPDX-License-Identifier: GPL-2.0-only
/*
 * The floor: what a mirror of two legs costs at least, when it allocates both of
 * its clones. Each write is cloned twice from a bioset, once for each leg; nothing
 * is tracked, nothing is resynced, reads go to the first leg. It is there to be
 * measured against, and loses data when a leg fails.
 *
 *	<start> <length> zmfloor <source> <destination>
 */
#include <linux/bio.h>
#include <linux/device-mapper.h>
#include <linux/module.h>

#define DM_MSG_PREFIX "zmfloor"

struct zmfloor {
	struct dm_dev *leg[2];
	struct bio_set bios;
};

struct zmfloor_io {
	atomic_t legs;
	blk_status_t status;
};

static void zmfloor_leg_end(struct bio *clone)
{
	struct bio *bio = clone->bi_private;
	struct zmfloor_io *io = dm_per_bio_data(bio, sizeof(*io));

	if (clone->bi_status)
		io->status = clone->bi_status;
	bio_put(clone);
	if (atomic_dec_and_test(&io->legs)) {
		bio->bi_status = io->status;
		bio_endio(bio);
	}
}

static int zmfloor_map(struct dm_target *ti, struct bio *bio)
{
	struct zmfloor *floor = ti->private;
	struct zmfloor_io *io = dm_per_bio_data(bio, sizeof(*io));
	unsigned int leg;

	if (bio_data_dir(bio) == READ || !bio_has_data(bio)) {
		bio_set_dev(bio, floor->leg[0]->bdev);
		return DM_MAPIO_REMAPPED;
	}

	atomic_set(&io->legs, 2);
	io->status = BLK_STS_OK;
	for (leg = 0; leg < 2; leg++) {
		struct bio *clone;

		clone = bio_alloc_clone(floor->leg[leg]->bdev, bio, GFP_NOIO,
					&floor->bios);
		clone->bi_private = bio;
		clone->bi_end_io = zmfloor_leg_end;
		submit_bio_noacct(clone);
	}
	return DM_MAPIO_SUBMITTED;
}

static void zmfloor_dtr(struct dm_target *ti)
{
	struct zmfloor *floor = ti->private;
	unsigned int leg;

	for (leg = 0; leg < 2; leg++)
		if (floor->leg[leg])
			dm_put_device(ti, floor->leg[leg]);
	bioset_exit(&floor->bios);
	kfree(floor);
}

static int zmfloor_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct zmfloor *floor;
	unsigned int leg;
	int r;

	if (argc != 2) {
		ti->error = "Two devices are needed";
		return -EINVAL;
	}
	floor = kzalloc(sizeof(*floor), GFP_KERNEL);
	if (!floor)
		return -ENOMEM;
	ti->private = floor;
	r = bioset_init(&floor->bios, BIO_POOL_SIZE, 0, 0);
	for (leg = 0; leg < 2 && !r; leg++)
		r = dm_get_device(ti, argv[leg], dm_table_get_mode(ti->table),
				  &floor->leg[leg]);
	if (r) {
		ti->error = "No such device, or no memory";
		zmfloor_dtr(ti);
		return r;
	}
	ti->per_io_data_size = sizeof(struct zmfloor_io);
	return 0;
}

static int zmfloor_iterate_devices(struct dm_target *ti,
				   iterate_devices_callout_fn fn, void *data)
{
	struct zmfloor *floor = ti->private;

	return fn(ti, floor->leg[0], 0, ti->len, data);
}

static struct target_type zmfloor_target = {
	.name = "zmfloor",
	.version = {1, 0, 0},
	.module = THIS_MODULE,
	.ctr = zmfloor_ctr,
	.dtr = zmfloor_dtr,
	.map = zmfloor_map,
	.iterate_devices = zmfloor_iterate_devices,
};

static int __init zmfloor_init(void)
{
	return dm_register_target(&zmfloor_target);
}

static void __exit zmfloor_exit(void)
{
	dm_unregister_target(&zmfloor_target);
}

module_init(zmfloor_init);
module_exit(zmfloor_exit);

MODULE_DESCRIPTION("floor of a mirror's cost, for dm-zmirror's benchmark");
MODULE_LICENSE("GPL");
