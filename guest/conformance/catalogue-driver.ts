// The requirements on the driver, as docs/reference/virtio-conformance.tsv has them. Written by scripts/embed-catalogue.mjs.

/** Tab-separated: id, section, actor, level, feature-gate, observable, requirement, how-to-check. */
export const driverCatalogue: string = `\
STAT-DRV-001	2.1.1 Device Status Field	driver	MUST	-	yes	Set status bits step by step so that the register mirrors which initialisation steps are done.	Trace Status writes: 0 -> 1 -> 3 -> 0x0b -> 0x0f order, no later bit before an earlier one
STAT-DRV-002	2.1.1 Device Status Field	driver	MUST NOT	-	yes	Never clear a status bit other than by writing 0 (reset).	Trace: each non-zero Status write is a superset of the previous Status value
STAT-DRV-003	2.1.1 Device Status Field	driver	MUST	-	yes	After setting FAILED, reset (write 0) before trying to initialise again.	Trace: after a write with 0x80, the next Status write is 0 before any write of 1
STAT-DRV-004	2.1.1 Device Status Field	driver	SHOULD NOT	-	no	Do not count on in-flight requests finishing (or not finishing) once DEVICE_NEEDS_RESET is seen.	Device raises 0x40 mid-request; check driver issues Status=0 and re-queues or fails the I/O instead of waiting
STAT-DRV-005	2.4.2 Device Reset	driver	SHOULD	-	yes	Treat a reset it started as finished only when Status reads 0.	Device delays Status==0; trace shows driver polling R Status before further init
FEAT-DRV-001	2.2.1 Feature Bits	driver	MUST NOT	-	yes	Accept nothing the device did not offer.	Trace: DriverFeatures writes & ~offered ==0
FEAT-DRV-002	2.2.1 Feature Bits	driver	MUST NOT	-	yes	Accept no feature whose prerequisite was not accepted too.	Trace: e.g. CONFIG_WCE accepted implies FLUSH behaviour understood; dependent bits present
FEAT-DRV-003	2.2.1 Feature Bits	driver	MUST	-	no	Validate the offered feature bits.	Offer an inconsistent set; driver must not blindly echo it
FEAT-DRV-004	2.2.1 Feature Bits	driver	MUST	-	yes	Ignore, and never accept, offered bits that are undescribed, reserved, unsupported on this transport or undefined for the device type.	Offer bits 30,37,41,44-49,96 on MMIO: trace shows none of them in DriverFeatures
FEAT-DRV-005	2.2.1 Feature Bits	driver	SHOULD	-	no	Fall back to a compatible mode when a feature it understands is not offered.	Withhold an optional feature; driver still initialises
FEAT-DRV-006	2.2.1 Feature Bits	driver	MUST	-	yes	If it cannot fall back, set FAILED and stop initialising.	Withhold a feature it requires: trace shows Status|=0x80 and no queue setup
FEAT-DRV-007	2.2.1 Feature Bits	driver	MUST NOT	-	yes	Do not fail merely because an unknown feature is offered.	Offer an unknown bit: driver still reaches DRIVER_OK
FEAT-DRV-008	2.2.3 Legacy: Feature Bits	driver	MUST	LEGACY	yes	A transitional driver recognises a legacy device by VERSION_1 not being offered.	Do not offer bit 32: trace shows driver using legacy flow or giving up
FEAT-DRV-009	2.2.3 Legacy: Feature Bits	driver	MUST	LEGACY	no	When using the legacy interface, obey the legacy sections.	Trace GuestPageSize, QueueAlign, QueuePFN usage
CFG-DRV-001	2.5.1 Device Configuration Space	driver	MUST NOT	-	no	Do not assume reads of fields wider than 32 bits, or of several fields, are atomic.	Inspect code; change capacity between halves and check driver result is one of the two valid values
CFG-DRV-002	2.5.1 Device Configuration Space	driver	SHOULD	!LEGACY	yes	Wrap config reads in a before/after generation check and retry on mismatch.	Trace: R ConfigGeneration, field reads, R ConfigGeneration; bump generation mid-read: driver re-reads
CFG-DRV-003	2.5.1 Device Configuration Space	driver	MUST	-	yes	Check the feature is offered before touching an optional config field.	Do not offer BLK_SIZE etc.: no access to its offset in trace
CFG-DRV-004	2.5.1 Device Configuration Space	driver	MUST NOT	-	no	Do not impose an upper bound on structure or config space size.	Provide larger config space: driver still probes
CFG-DRV-005	2.5.1 Device Configuration Space	driver	SHOULD	-	no	Only check that config space is large enough for what it needs.	Provide larger config space: driver still probes
CFG-DRV-006	2.5.4 Legacy: Device Configuration Space	driver	SHOULD	LEGACY	yes	Without a generation field, re-read racy fields (capacity) until two reads agree.	Trace on Version 1: capacity read twice or more with equal results
VQR-DRV-001	2.6.1.1.2 Virtqueue Reset	driver	MUST	VIRTIO_F_RING_RESET	yes	Confirm that the queue really has been reset after asking for it.	Trace: R QueueReset after W QueueReset=1
VQR-DRV-002	2.6.1.1.2 Virtqueue Reset	driver	MAY	VIRTIO_F_RING_RESET	no	May free queue resources after the reset succeeded.	No freed memory is touched by device afterwards
VQR-DRV-003	2.6.1.2.2 Virtqueue Re-enable	driver	MUST	VIRTIO_F_RING_RESET	yes	Reconfigure all queue resources exactly as for first discovery (parameters may differ) when re-enabling.	Trace: QueueSize and all six address registers rewritten before QueueReady=1
SPLIT-DRV-001	2.7.2 Legacy: Virtqueue Layout	driver	MUST	LEGACY	yes	Read the queue size from the device before laying out the ring.	Trace: R QueueSizeMax before W QueuePFN
SPLIT-DRV-002	2.7.2 Legacy: Virtqueue Layout	driver	MUST	LEGACY	no	Allocate the full legacy ring size (both aligned parts).	Check memory beyond ring is not shared
SPLIT-DRV-003	2.7.2 Legacy: Virtqueue Layout	driver	MUST	LEGACY	yes	Use the same fixed legacy layout as the device.	At W QueuePFN=p read RAM at p*page: avail idx lies at +16N+2, used ring at ALIGN(16N+6+2N, QueueAlign)
SPLIT-DRV-004	2.7.3 Legacy: Virtqueue Endianness	driver	MUST	LEGACY	yes	Ring fields use guest-native endianness.	On a big-endian guest with Version 1, first chain: desc.len bytes at +8 decode as BE to the header length 16
SPLIT-DRV-005	2.7.1 Virtqueues	driver	MUST	!VIRTIO_F_RING_PACKED	yes	Align descriptor table to 16, available ring to 2, used ring to 4 bytes.	Trace: QueueDesc&15==0, QueueDriver&1==0, QueueDevice&3==0
SPLIT-DRV-006	2.7.4.2 Message Framing	driver	MUST	-	yes	Put all device-writable elements after all device-readable ones.	Walk every published chain: no readable descriptor after a WRITE one
SPLIT-DRV-007	2.7.4.2 Message Framing	driver	SHOULD NOT	-	yes	Avoid an excessive number of descriptors per buffer.	Average chain length vs seg count in trace
SPLIT-DRV-008	2.7.4.3 Legacy: Message Framing	driver	MUST	LEGACY,!VIRTIO_F_ANY_LAYOUT	yes	Follow the device-specific framing rules when ANY_LAYOUT was not negotiated.	Without bit 27 accepted, every chain matches BLK-DRV-045/046
SPLIT-DRV-009	2.7.5.2 Descriptor Table	driver	MUST NOT	!VIRTIO_F_RING_PACKED	yes	Chain total must not exceed 2^32 bytes; loops are therefore forbidden.	Walk chain: visited<=QueueSize and sum(len)<=2^32
SPLIT-DRV-010	2.7.5.2 Descriptor Table	driver	MUST	VIRTIO_F_IN_ORDER,!VIRTIO_F_RING_PACKED	yes	With NEXT set at slot x, next must be x+1, or 0 for the last slot.	For each published desc x with NEXT: desc.next == (x+1) % QueueSize
SPLIT-DRV-011	2.7.5 Descriptor Table [text]	driver	MUST	VIRTIO_F_IN_ORDER,!VIRTIO_F_RING_PACKED	yes	Descriptors are taken in ring order from slot 0, wrapping at the end.	Head of chain k+1 follows tail of chain k modulo size
SPLIT-DRV-012	2.7.5.3.1 Indirect Descriptors	driver	MUST NOT	!VIRTIO_F_INDIRECT_DESC,!VIRTIO_F_RING_PACKED	yes	Do not use INDIRECT unless negotiated.	For each published desc: flags & 4 == 0
SPLIT-DRV-013	2.7.5.3.1 Indirect Descriptors	driver	MUST NOT	VIRTIO_F_INDIRECT_DESC,!VIRTIO_F_RING_PACKED	yes	No INDIRECT flag inside an indirect table.	For each INDIRECT desc walk the table at addr, len/16 entries: flags & 4 == 0
SPLIT-DRV-014	2.7.5.3.1 Indirect Descriptors	driver	MUST NOT	!VIRTIO_F_RING_PACKED	yes	Chain length must not exceed the queue size.	Count descriptors of each chain <= QueueSize
SPLIT-DRV-015	2.7.5.3.1 Indirect Descriptors	driver	MUST NOT	VIRTIO_F_INDIRECT_DESC,!VIRTIO_F_RING_PACKED	yes	Never set INDIRECT and NEXT together.	For each published desc: flags & 5 != 5
SPLIT-DRV-016	2.7.5.3.1 Indirect Descriptors	driver	MUST	VIRTIO_F_INDIRECT_DESC,VIRTIO_F_IN_ORDER,!VIRTIO_F_RING_PACKED	yes	Indirect entries are sequential: next of entry k is k+1.	Walk each indirect table: entry k with NEXT has next==k+1
SPLIT-DRV-017	2.7.6.1 Available Ring	driver	MUST NOT	!VIRTIO_F_RING_PACKED	yes	Never decrement avail.idx.	Sample avail.idx: (new-old) mod 65536 <= QueueSize
SPLIT-DRV-018	2.7.7.1 Used Buffer Notification Suppression	driver	MUST	!VIRTIO_F_EVENT_IDX,!VIRTIO_F_RING_PACKED	yes	Keep avail.flags at 0 or 1.	On every QueueNotify and every completion read avail.flags at QueueDriver+0: value is 0 or 1
SPLIT-DRV-019	2.7.7.1 Used Buffer Notification Suppression	driver	MAY	!VIRTIO_F_EVENT_IDX,!VIRTIO_F_RING_PACKED	no	May set avail.flags=1 to hint that interrupts are not needed.	not checkable from outside; design/code review only
SPLIT-DRV-020	2.7.7.1 Used Buffer Notification Suppression	driver	MUST	VIRTIO_F_EVENT_IDX,!VIRTIO_F_RING_PACKED	yes	Keep avail.flags at 0.	On every QueueNotify and every completion read avail.flags at QueueDriver+0: value is 0
SPLIT-DRV-021	2.7.7.1 Used Buffer Notification Suppression	driver	MAY	VIRTIO_F_EVENT_IDX,!VIRTIO_F_RING_PACKED	no	May use used_event to ask for the next interrupt at a given used index.	not checkable from outside; design/code review only
SPLIT-DRV-022	2.7.7.1 Used Buffer Notification Suppression	driver	MUST	!VIRTIO_F_RING_PACKED	no	Cope with spurious notifications.	Raise InterruptStatus bit0 with no new used entry: driver continues normally
SPLIT-DRV-023	2.7.8.3 Used Ring	driver	MUST NOT	!VIRTIO_F_RING_PACKED	no	Assume nothing about writable data past len bytes.	Return small len with junk after it: driver does not use it
SPLIT-DRV-024	2.7.8.3 Used Ring	driver	SHOULD	!VIRTIO_F_RING_PACKED	no	Ignore data beyond len.	Return used.len=1 for a read with junk in the data buffer: driver must not hand the junk to the file system
SPLIT-DRV-025	2.7.8.1 Legacy: Used Ring [text]	driver	SHOULD	LEGACY	no	Ignore len in used elements where possible.	Return wrong len on Version 1: driver unaffected
SPLIT-DRV-026	2.7.10.1 Available Buffer Notification Suppression	driver	MUST	!VIRTIO_F_RING_PACKED	yes	Initialise used.flags to 0 when allocating the ring.	At QueueReady=1 read used.flags==0
SPLIT-DRV-027	2.7.10.1 Available Buffer Notification Suppression	driver	MUST	!VIRTIO_F_EVENT_IDX,!VIRTIO_F_RING_PACKED	no	Ignore avail_event.	Put junk in avail_event: driver still notifies
SPLIT-DRV-028	2.7.10.1 Available Buffer Notification Suppression	driver	SHOULD NOT	!VIRTIO_F_EVENT_IDX,!VIRTIO_F_RING_PACKED	yes	Do not notify when used.flags is 1.	Device sets used.flags=1: no QueueNotify writes
SPLIT-DRV-029	2.7.10.1 Available Buffer Notification Suppression	driver	MUST	!VIRTIO_F_EVENT_IDX,!VIRTIO_F_RING_PACKED	yes	Notify after publishing when used.flags is 0.	Each avail.idx change is followed by W QueueNotify
SPLIT-DRV-030	2.7.10.1 Available Buffer Notification Suppression	driver	MUST	VIRTIO_F_EVENT_IDX,!VIRTIO_F_RING_PACKED	no	Ignore bit 0 of used.flags.	Set used.flags=1: driver still honours avail_event
SPLIT-DRV-031	2.7.10.1 Available Buffer Notification Suppression	driver	MUST	VIRTIO_F_EVENT_IDX,!VIRTIO_F_RING_PACKED	yes	Notify when the avail index just filled equals avail_event.	Set avail_event=avail.idx: next publish must notify
SPLIT-DRV-032	2.7.10.1 Available Buffer Notification Suppression	driver	SHOULD NOT	VIRTIO_F_EVENT_IDX,!VIRTIO_F_RING_PACKED	yes	Otherwise do not notify.	Set avail_event far ahead: no QueueNotify
SPLIT-DRV-033	2.7.13.3.1 Updating idx	driver	MUST	!VIRTIO_F_RING_PACKED	no	Barrier before the avail.idx update so the device sees complete descriptors.	Memory-order review
SPLIT-DRV-034	2.7.13.4.1 Notifying The Device	driver	MUST	!VIRTIO_F_RING_PACKED	no	Barrier before reading used.flags/avail_event so no notification is lost.	Memory-order review
SPLIT-DRV-035	2.7.13 Supplying Buffers [text]	driver	MAY	!VIRTIO_F_RING_PACKED	no	May publish many heads with one avail.idx update.	Sampled avail.idx may grow by k<=QueueSize between two observations; all k heads must be valid
SPLIT-DRV-036	2.7.13 Supplying Buffers [text]	driver	MAY	!VIRTIO_F_RING_PACKED	no	May disable used notifications while draining the used ring, re-checking after enabling.	With avail.flags=1 (or old used_event) at random times no completion is ever lost
PACK-DRV-001	2.8.11 Packed Virtqueues	driver	MUST	VIRTIO_F_RING_PACKED	yes	Align descriptor ring to 16, both event structs to 4 bytes.	At QueueReady=1: QueueDesc&15==0, QueueDriver&3==0, QueueDevice&3==0
PACK-DRV-002	2.8.16 Packed Descriptor Table	driver	MUST NOT	VIRTIO_F_RING_PACKED	yes	Do not change a descriptor before observing its USED bit flip.	Watch ring writes by guest on available slots
PACK-DRV-003	2.8.16 Packed Descriptor Table	driver	MUST NOT	VIRTIO_F_RING_PACKED	yes	Do not change a descriptor after flipping its AVAIL bit.	Snapshot each slot when it becomes available; compare at the time the device writes it used: unchanged
PACK-DRV-004	2.8.16 Packed Descriptor Table	driver	MUST	VIRTIO_F_RING_PACKED,VIRTIO_F_NOTIFICATION_DATA	yes	Notification next_off/next_wrap describe the next descriptor not yet available.	Decode QueueNotify value and compare with ring state
PACK-DRV-005	2.8.16 Packed Descriptor Table	driver	MAY	VIRTIO_F_RING_PACKED	no	May notify several times without new descriptors.	not checkable from outside; design/code review only
PACK-DRV-006	2.8.17 Scatter-Gather Support	driver	MUST NOT	VIRTIO_F_RING_PACKED	yes	List no longer than the device allows.	Count list vs device limit (seg_max+2)
PACK-DRV-007	2.8.17 Scatter-Gather Support	driver	MUST NOT	VIRTIO_F_RING_PACKED	yes	List no longer than queue size (hence no loops).	Follow NEXT from each list head: at most QueueSize slots
PACK-DRV-008	2.8.17 Scatter-Gather Support	driver	MUST	VIRTIO_F_RING_PACKED	yes	Writable elements after readable ones.	Walk each list (ring or table): once flags&2 seen, all later entries have flags&2
PACK-DRV-009	2.8.17 Scatter-Gather Support	driver	MUST NOT	VIRTIO_F_RING_PACKED	no	Do not rely on the device using more descriptors to make room for the rest of a list.	Driver stalls rather than exposing partial list
PACK-DRV-010	2.8.17 Scatter-Gather Support	driver	MUST	VIRTIO_F_RING_PACKED	no	Ensure space for the entire list before exposing its first descriptor.	With ring nearly full (k free slots) no list longer than k gets its first slot AVAIL
PACK-DRV-011	2.8.17 Scatter-Gather Support	driver	MUST NOT	VIRTIO_F_RING_PACKED	no	Expose the first descriptor only after all others of the list.	Sample ring: never first AVAIL with tail not AVAIL
PACK-DRV-012	2.8.19 Indirect Descriptors	driver	MUST NOT	VIRTIO_F_RING_PACKED,!VIRTIO_F_INDIRECT_DESC	yes	No INDIRECT unless negotiated.	For each available slot: flags & 4 == 0
PACK-DRV-013	2.8.19 Indirect Descriptors	driver	MUST NOT	VIRTIO_F_RING_PACKED,VIRTIO_F_INDIRECT_DESC	yes	Only WRITE may be set inside an indirect table.	For each INDIRECT slot dump table entries: flags & ~2 == 0
PACK-DRV-014	2.8.19 Indirect Descriptors	driver	MUST NOT	VIRTIO_F_RING_PACKED,VIRTIO_F_INDIRECT_DESC	yes	Chain no longer than the device allows.	len/16 of each indirect table <= advertised limit (seg_max+2)
PACK-DRV-015	2.8.19 Indirect Descriptors	driver	MUST NOT	VIRTIO_F_RING_PACKED,VIRTIO_F_INDIRECT_DESC	yes	Do not put an INDIRECT descriptor in a NEXT-linked list.	Slots with flags&4 have flags&1==0 and are not reached by NEXT
PACK-DRV-016	2.8.21.1.1 Updating flags	driver	MUST	VIRTIO_F_RING_PACKED	no	Barrier before writing the flags of the first descriptor.	Memory-order review
PACK-DRV-017	2.8.21.3.1 Sending Available Buffer Notifications	driver	MUST	VIRTIO_F_RING_PACKED	no	Barrier before reading the device-area event struct.	Memory-order review
PACK-DRV-018	2.8.1 Wrap Counters [text]	driver	MUST	VIRTIO_F_RING_PACKED	yes	Driver wrap counter starts at 1, toggles after the last slot is made available; AVAIL=counter, USED=inverse.	Lap 1 slots show AVAIL=1 USED=0 (0x0080), lap 2 AVAIL=0 USED=1 (0x8000), alternating
PACK-DRV-019	2.8.13 Descriptor Format [text]	driver	MUST	VIRTIO_F_RING_PACKED	yes	Descriptor ring is zero-initialised.	At W QueueReady=1 all 16*QueueSize ring bytes are 0
NOTIF-DRV-001	2.9 Driver Notifications [text]	driver	MUST	VIRTIO_F_NOTIFICATION_DATA,!VIRTIO_F_RING_PACKED	yes	next_off is the low 15 bits and next_wrap bit 15 of the next avail.idx.	Value>>16 == avail.idx at time of write
NOTIF-DRV-002	2.9 Driver Notifications [text]	driver	MUST	VIRTIO_F_NOTIFICATION_DATA,VIRTIO_F_RING_PACKED	yes	next_off is the slot, next_wrap the wrap counter, of the next descriptor to be made available.	Decode and compare with ring state
INIT-DRV-001	3.1.1 Device Initialization	driver	MUST	!LEGACY	yes	Follow the order reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK, re-read, queue setup, DRIVER_OK.	Register trace: W Status 0,1,3; feature regs; W Status 0x0b; R Status; queue setup; W Status 0x0f, nothing out of order
INIT-DRV-002	3.1.1 Device Initialization	driver	MAY	-	yes	May read device config while negotiating features.	Reads of 0x100+ with Status==3 are fine
INIT-DRV-003	3.1.1 Device Initialization	driver	MUST NOT	!LEGACY	yes	Must not write device config before FEATURES_OK.	No W at 0x100+ while Status has no 0x08
INIT-DRV-004	3.1.1 Device Initialization	driver	MUST NOT	!LEGACY	yes	Must not accept further features after FEATURES_OK.	No DriverFeatures write after Status & 8
INIT-DRV-005	3.1.1 Device Initialization	driver	MUST	!LEGACY	yes	Re-read Status after FEATURES_OK and stop if the bit is gone.	Trace R Status; device clears bit: no queue setup follows
INIT-DRV-006	3.1.1 Device Initialization	driver	SHOULD	-	yes	Set FAILED when initialisation fails for good.	Make QueueSizeMax read 0: trace ends with W Status having 0x80
INIT-DRV-007	3.1.1 Device Initialization	driver	MUST NOT	-	yes	Do not continue initialising after such a failure.	After the write with 0x80 no QueueReady=1, no DRIVER_OK, no QueueNotify until W Status=0
INIT-DRV-008	3.1.1 Device Initialization	driver	MUST NOT	!LEGACY	yes	No available-buffer notification before DRIVER_OK.	No QueueNotify write before Status & 4
INIT-DRV-009	3.1.2 Legacy: Device Initialization	driver	MUST	LEGACY	yes	Follow the same order but without FEATURES_OK steps.	Trace on Version 1: Status never has 0x08
INIT-DRV-010	3.3.1 Device Cleanup	driver	MUST NOT	-	yes	Do not alter ring entries of buffers exposed on a live queue.	Ring snapshots between publish and use are identical
INIT-DRV-011	3.3.1 Device Cleanup	driver	MUST	-	yes	Make the queue not live (reset) before withdrawing exposed buffers.	Trace: W Status=0 (or QueueReset) precedes removal
SUSP-DRV-001	3.4.1 Device Suspend	driver	SHOULD NOT	VIRTIO_F_SUSPEND	yes	Do not set SUSPEND without DRIVER_OK or without negotiation.	Trace: any Status write with 0x10 happens with 0x04 set and bit 43 accepted
SUSP-DRV-002	3.4.1 Device Suspend	driver	MUST	VIRTIO_F_SUSPEND	yes	Verify suspension by re-reading status (0x10 set, 0x04 clear).	After W Status|0x10 trace shows R Status until 0x10 set and 0x04 clear
SUSP-DRV-003	3.4.1 Device Suspend	driver	MUST NOT	VIRTIO_F_SUSPEND	yes	Make no more buffers available once SUSPEND is set.	avail.idx (or packed slots) unchanged from W Status|0x10 until resume
SUSP-DRV-004	3.4.1 Device Suspend	driver	MUST NOT	VIRTIO_F_SUSPEND	yes	Send no notifications once SUSPEND is set.	No W 0x050 from W Status|0x10 until resume
SUSP-DRV-005	3.4.1 Device Suspend	driver	MUST NOT	VIRTIO_F_SUSPEND	yes	Change no config field except status while suspended.	No write at 0x100+ from W Status|0x10 until resume
SUSP-DRV-006	3.4.1 Device Suspend	driver	MUST	VIRTIO_F_SUSPEND	yes	On resume wait for SUSPEND==0 and DRIVER_OK==1 before normal operation.	After W Status|0x04 trace polls R Status until 0x10 clear and 0x04 set before W 0x050
MMIO-DRV-001	4.2.2.2 Register Layout	driver	MUST NOT	-	yes	Touch no offset that is not in the register table (or device config).	Trace: every offset < 0x100 is in the table; every offset >= 0x100 is inside the blk config layout
MMIO-DRV-002	4.2.2.2 Register Layout	driver	MUST NOT	-	yes	Do not write read-only registers.	Trace writes to 0x000-0x010,0x034,0x060,0x0b0-0x0bc,0x0fc
MMIO-DRV-003	4.2.2.2 Register Layout	driver	MUST NOT	-	yes	Do not read write-only registers.	Trace reads of 0x014,0x020,0x024,0x030,0x038,0x050,0x064,0x080-0x0ac
MMIO-DRV-004	4.2.2.2 Register Layout	driver	MUST	-	yes	Use aligned 32-bit accesses for all control registers.	Trace: accesses below 0x100 all have size 4 and offset%4==0
MMIO-DRV-005	4.2.2.2 Register Layout	driver	MUST	!LEGACY	yes	Config space: 8-bit access for 8-bit fields, aligned 16 for 16-bit, aligned 32 for 32- and 64-bit fields.	Trace widths: capacity as two R32, writeback as R8, num_queues as R16
MMIO-DRV-006	4.2.2.2 Register Layout	driver	MUST	-	yes	Ignore a device with a wrong MagicValue.	Return other magic: no further access
MMIO-DRV-007	4.2.2.2 Register Layout	driver	MAY	-	no	May report the wrong magic as an error.	not checkable from outside; design/code review only
MMIO-DRV-008	4.2.2.2 Register Layout	driver	MUST	!LEGACY	yes	Ignore a device whose Version is not 2.	Return Version 3: no further access (transitional drivers also take 1)
MMIO-DRV-009	4.2.2.2 Register Layout	driver	MAY	-	no	May report the wrong version as an error.	not checkable from outside; design/code review only
MMIO-DRV-010	4.2.2.2 Register Layout	driver	MUST	-	yes	Ignore a device with DeviceID 0.	Return 0 from 0x008: no access to any other offset afterwards
MMIO-DRV-011	4.2.2.2 Register Layout	driver	MUST NOT	-	no	Report no error for DeviceID 0.	Driver log is silent
MMIO-DRV-012	4.2.2.2 Register Layout	driver	MUST	-	yes	Write DeviceFeaturesSel before reading DeviceFeatures.	Trace: first R 0x010 after reset is preceded by W 0x014 (xv6 violates this)
MMIO-DRV-013	4.2.2.2 Register Layout	driver	MUST	-	yes	Write DriverFeaturesSel before writing DriverFeatures.	Trace: first W 0x020 after reset is preceded by W 0x024 (xv6 violates this)
MMIO-DRV-014	4.2.2.2 Register Layout	driver	MUST	-	yes	QueueSize written must not exceed QueueSizeMax.	Trace: value of W 0x038 <= value last read from 0x034 for that QueueSel
MMIO-DRV-015	4.2.2.2 Register Layout	driver	MUST NOT	!LEGACY	yes	Do not access QueueSize or queue addresses while QueueReady is non-zero.	Trace: no access to 0x038 or 0x080-0x0a4 while the selected queue reads 0x044 != 0
MMIO-DRV-016	4.2.2.2 Register Layout	driver	MUST	!LEGACY	yes	To stop a queue write QueueReady=0.	Unbind driver: trace has W 0x044=0 (or W Status=0) before ring memory is freed
MMIO-DRV-017	4.2.2.2 Register Layout	driver	MUST	!LEGACY	yes	And read QueueReady back to synchronise.	Unbind driver: W 0x044=0 is followed by R 0x044
MMIO-DRV-018	4.2.2.2 Register Layout	driver	MUST	-	no	Ignore undefined InterruptStatus bits.	Return InterruptStatus=0x81: driver handles used buffers and does not fail
MMIO-DRV-019	4.2.2.2 Register Layout	driver	MUST	-	yes	Acknowledge handled events by writing their mask to InterruptACK.	Each irq: W 0x064 contains the bits it read and processed from 0x060
MMIO-DRV-020	4.2.2.2 Register Layout	driver	MUST NOT	-	yes	Set no undefined bits in InterruptACK.	Each W 0x064 value & ~3 == 0 even if undefined bits were read
MMIO-DRV-021	4.2.2.2 Register Layout	driver	MUST NOT	VIRTIO_F_RING_RESET	yes	Do not consider a queue reset complete until QueueReset reads 0.	Hold 0x0c0 at 1: driver keeps reading it and does not reconfigure the queue
MMIO-DRV-022	4.2.2.2 Register Layout	driver	MAY	VIRTIO_F_RING_RESET	no	May re-enable the queue through QueueReady=1 once other fields are right.	not checkable from outside; design/code review only
MMIO-DRV-023	4.2.2.2 Register Layout	driver	MAY	VIRTIO_F_RING_RESET	no	May choose different queue parameters on re-enable.	not checkable from outside; design/code review only
MMIO-DRV-024	4.2.3.1.1 Device Initialization	driver	MUST	-	yes	Begin by reading and checking MagicValue and Version.	First two trace entries are R 0x000 and R 0x004
MMIO-DRV-025	4.2.3.1.1 Device Initialization	driver	MUST	-	yes	If both fine, read DeviceID.	Third trace entry is R 0x008
MMIO-DRV-026	4.2.3.1.1 Device Initialization	driver	MUST	-	yes	Abort initialisation when DeviceID is 0.	Return 0 from 0x008: Status is never written
MMIO-DRV-027	4.2.3.1.1 Device Initialization	driver	MUST NOT	-	yes	Touch no other register in that case.	Return 0 from 0x008: no further access of any kind
MMIO-DRV-028	4.2.3.1.1 Device Initialization	driver	MUST NOT	-	yes	Drivers not expecting shared memory leave SHM registers alone.	No access to 0x0ac-0x0bc by blk driver
MMIO-DRV-029	4.2.3.1.1 Device Initialization	driver	MUST	-	yes	Continue with the generic initialisation sequence.	After R 0x008 the trace satisfies INIT-DRV-001
MMIO-DRV-030	4.2.3.2 Virtqueue Configuration [text]	driver	MUST	!LEGACY	yes	Queue set-up order: QueueSel, QueueReady==0 check, QueueSizeMax, allocate+zero, QueueSize, addresses, QueueReady=1.	Trace per queue: W 0x030, R 0x044==0, R 0x034, W 0x038, W 0x080..0x0a4, W 0x044=1
MMIO-DRV-031	4.2.3.4.1 Notifications From The Device	driver	MUST	-	yes	Read InterruptStatus after an interrupt.	Raise irq: next register access of the handler is R 0x060
MMIO-DRV-032	4.2.3.4.1 Notifications From The Device	driver	SHOULD	-	no	Treat bit 0 as a used notification for every active queue.	Multi-queue: completions on q1 noticed
MMIO-DRV-033	4.2.3.4.1 Notifications From The Device	driver	MUST	-	yes	Acknowledge through InterruptACK after handling.	Raise irq: trace has W 0x064 with the mask read (Linux does it before processing)
MMIO-DRV-034	4.2.4 Legacy interface [text]	driver	MUST	LEGACY	yes	Write GuestPageSize before configuring queues, then QueueSel, QueuePFN==0 check, QueueSizeMax, QueueSize, QueueAlign, QueuePFN.	Trace: W 0x028 first, then W 0x030, R 0x040==0, R 0x034, W 0x038, W 0x03c, W 0x040
MMIO-DRV-035	4.2.4 Legacy interface [text]	driver	SHOULD	LEGACY	yes	GuestPageSize and QueueAlign are powers of two; chosen size <= QueueSizeMax.	Trace: values of W 0x028 and W 0x03c are powers of two; W 0x038 <= R 0x034
MMIO-DRV-036	4.2.4 Legacy interface [text]	driver	MUST NOT	LEGACY	yes	Do not read QueueSizeMax while QueuePFN of the selected queue is non-zero.	Trace on Version 1: R 0x034 only while R 0x040 of that queue would be 0
BLK-DRV-001	5.2.5.1 Device Initialization	driver	SHOULD NOT	VIRTIO_BLK_F_FLUSH	no	Do not negotiate FLUSH when unable to send flush requests.	not checkable from outside; design/code review only
BLK-DRV-002	5.2.5.1 Device Initialization	driver	MAY	!VIRTIO_BLK_F_CONFIG_WCE,!VIRTIO_BLK_F_FLUSH	no	May infer writethrough when neither is negotiated.	not checkable from outside; design/code review only
BLK-DRV-003	5.2.5.1 Device Initialization	driver	SHOULD	VIRTIO_BLK_F_FLUSH,!VIRTIO_BLK_F_CONFIG_WCE	no	Assume writeback when only FLUSH is negotiated.	Driver issues flushes for durability
BLK-DRV-004	5.2.5.1 Device Initialization	driver	MUST NOT	!LEGACY	yes	Do not read writeback before FEATURES_OK is set.	Trace: no R8 0x120 before Status has 0x08
BLK-DRV-005	5.2.5.1 Device Initialization	driver	MUST NOT	VIRTIO_BLK_F_ZONED	no	Do not negotiate ZONED when unable to support HM, HA or NONE models.	not checkable from outside; design/code review only
BLK-DRV-006	5.2.5.1 Device Initialization	driver	MUST NOT	-	yes	With a HM device DISCARD must not be taken (spec text says offered by the driver; read as accepted).	HM model offered with DISCARD: driver leaves bit 13 clear; device should not offer it
BLK-DRV-007	5.2.5.1 Device Initialization	driver	MAY	VIRTIO_BLK_F_ZONED	no	With HA/NONE, ZONED and DISCARD may be negotiated independently.	not checkable from outside; design/code review only
BLK-DRV-008	5.2.5.1 Device Initialization	driver	MUST NOT	VIRTIO_BLK_F_ZONED	yes	A driver without HM support reading model HM must not set FEATURES_OK.	Model HM(1) presented to such a driver: no Status write with 0x08
BLK-DRV-009	5.2.5.1 Device Initialization	driver	MUST	VIRTIO_BLK_F_ZONED	yes	It sets FAILED instead.	Model HM(1) presented to such a driver: Status write with 0x80
BLK-DRV-010	5.2.5.1 Device Initialization	driver	MAY	VIRTIO_BLK_F_ZONED	no	A driver without zoned support may treat HA as non-zoned.	not checkable from outside; design/code review only
BLK-DRV-011	5.2.5.1 Device Initialization	driver	SHOULD	VIRTIO_BLK_F_ZONED	no	In that case ignore the other zoned fields.	not checkable from outside; design/code review only
BLK-DRV-012	5.2.4.1 Legacy: Config layout	driver	MUST	LEGACY	yes	Config fields are guest-native endian.	Big-endian guest, Version 1: driver size equals BE decoding of the config bytes
BLK-DRV-013	5.2.5.3 Legacy: Device Initialization	driver	MAY	LEGACY	no	May read or write writeback before DRIVER or DRIVER_OK.	not checkable from outside; design/code review only
BLK-DRV-014	5.2.6.1 Device Operation	driver	SHOULD	-	yes	Check capacity after a config change notification.	Raise InterruptStatus bit1: trace shows R32 0x100 and R32 0x104
BLK-DRV-015	5.2.6.1 Device Operation	driver	MUST NOT	-	yes	No read or write beyond capacity.	sector+len/512 <= capacity in every request
BLK-DRV-016	5.2.6.1 Device Operation	driver	SHOULD	-	yes	Accept RO when offered.	Offer bit 5: W 0x020 (word 0) has bit 5
BLK-DRV-017	5.2.6.1 Device Operation	driver	MUST	-	yes	sector is 0 in a flush request.	Type 4 header: le64 at +8 == 0
BLK-DRV-018	5.2.6.1 Device Operation	driver	SHOULD NOT	-	yes	Flush carries no data.	Type 4 chain: 16 readable bytes and 1 writable byte in total
BLK-DRV-019	5.2.6.1 Device Operation	driver	MUST	-	yes	IN/OUT data length is a multiple of 512.	Types 0/1: (writable-1) or (readable-16) total is a multiple of 512
BLK-DRV-020	5.2.6.1 Device Operation	driver	MUST	-	yes	Discard/erase/zeroes data length is a multiple of 16.	Types 11/13/14: readable total minus 16 is a multiple of 16
BLK-DRV-021	5.2.6.1 Device Operation	driver	MUST	-	yes	GET_ID data length is 20.	Type 8: writable total == 21
BLK-DRV-022	5.2.6.1 Device Operation	driver	MUST NOT	VIRTIO_BLK_F_DISCARD	yes	No more than max_discard_seg segments.	Type 11: (readable-16)/16 <= R32 0x128
BLK-DRV-023	5.2.6.1 Device Operation	driver	MUST NOT	VIRTIO_BLK_F_SECURE_ERASE	yes	No more than max_secure_erase_seg segments.	Type 14: (readable-16)/16 <= R32 0x140
BLK-DRV-024	5.2.6.1 Device Operation	driver	MUST NOT	VIRTIO_BLK_F_WRITE_ZEROES	yes	No more than max_write_zeroes_seg segments.	Type 13: (readable-16)/16 <= R32 0x134
BLK-DRV-025	5.2.6.1 Device Operation	driver	MAY	VIRTIO_BLK_F_CONFIG_WCE	no	May switch cache mode by writing 0 or 1 to writeback.	not checkable from outside; design/code review only
BLK-DRV-026	5.2.6.1 Device Operation	driver	MUST NOT	VIRTIO_BLK_F_CONFIG_WCE	no	Writing 0 to writeback does not mean earlier volatile writes are committed.	After W8 0x120=0 driver still sends type 4 for earlier data it must persist
BLK-DRV-027	5.2.6.1 Device Operation	driver	MUST	VIRTIO_BLK_F_DISCARD	yes	unmap is 0 in discard segments.	Type 11: every segment le32 at +12 has bit 0 == 0
BLK-DRV-028	5.2.6.1 Device Operation	driver	MUST NOT	VIRTIO_BLK_F_DISCARD	no	Assume nothing about data after discard.	not checkable from outside; design/code review only
BLK-DRV-029	5.2.6.1 Device Operation	driver	MUST NOT	VIRTIO_BLK_F_DISCARD/VIRTIO_BLK_F_WRITE_ZEROES	no	Assume nothing about individual segments after IOERR.	not checkable from outside; design/code review only
BLK-DRV-030	5.2.6.1 Device Operation	driver	MUST	VIRTIO_BLK_F_ZONED	no	Zone sector addresses are multiples of 512 bytes.	Header sector field is in 512-byte units, so this holds by construction; check it is a zone start where required
BLK-DRV-031	5.2.6.1 Device Operation	driver	MUST	VIRTIO_BLK_F_ZONED	yes	ZONE_REPORT sector lies within the first zone to report.	Type 16: header sector < capacity and floor(sector/zone_sectors) is the zone it wants first
BLK-DRV-032	5.2.6.1 Device Operation	driver	MAY	VIRTIO_BLK_F_ZONED	no	It may differ from the zone start.	not checkable from outside; design/code review only
BLK-DRV-033	5.2.6.1 Device Operation	driver	MUST	VIRTIO_BLK_F_ZONED	yes	OPEN/CLOSE/FINISH/RESET sector is the first sector of the zone.	Types 18/20/22/24: header sector % zone_sectors == 0
BLK-DRV-034	5.2.6.1 Device Operation	driver	MUST	VIRTIO_BLK_F_ZONED	yes	RESET_ALL sector is 0.	Type 26: header sector == 0
BLK-DRV-035	5.2.6.1 Device Operation	driver	MUST	VIRTIO_BLK_F_ZONED	yes	APPEND sector is the zone start.	Type 15: header sector % zone_sectors == 0
BLK-DRV-036	5.2.6.1 Device Operation	driver	MUST	VIRTIO_BLK_F_ZONED	yes	APPEND size is a multiple of write_granularity.	Type 15: (readable-16) % write_granularity == 0
BLK-DRV-037	5.2.6.1 Device Operation	driver	MUST NOT	VIRTIO_BLK_F_ZONED	yes	APPEND size within max_append_sectors.	Type 15: (readable-16)/512 <= R32 0x154
BLK-DRV-038	5.2.6.1 Device Operation	driver	MAY	VIRTIO_BLK_F_ZONED	no	May read append_sector after success.	not checkable from outside; design/code review only
BLK-DRV-039	5.2.6.1 Device Operation	driver	MUST	VIRTIO_BLK_F_ZONED	yes	OUT (sequential zones)/APPEND size and start are multiples of write_granularity and fit the zone.	Types 1/15 to sequential zones: data size and sector*512 multiples of R32 0x158; wp + size/512 <= z_start + z_cap
BLK-DRV-040	5.2.6.3 Legacy: Device Operation	driver	MUST	LEGACY	yes	Request header fields are guest-native endian.	Big-endian guest, Version 1: bytes 0-3 of the header decode as BE to the type
BLK-DRV-041	5.2.6.3 Legacy: Device Operation	driver	SHOULD	LEGACY	no	Ignore used length values.	not checkable from outside; design/code review only
BLK-DRV-042	5.2.6.3 Legacy: Device Operation	driver	MAY	LEGACY	no	May set writeback=0 or flush after every write to cope with old devices.	not checkable from outside; design/code review only
BLK-DRV-043	5.2.6.3 Legacy: Device Operation	driver	MUST	LEGACY	yes	SCSI cmd sits in one separate readable buffer.	Type 2/3: second readable descriptor holds exactly the CDB
BLK-DRV-044	5.2.6.3 Legacy: Device Operation	driver	SHOULD	LEGACY	no	Ignore data_len of SCSI requests.	not checkable from outside; design/code review only
BLK-DRV-045	5.2.6.4 Legacy: Framing	driver	MUST	LEGACY,!VIRTIO_F_ANY_LAYOUT	yes	One header descriptor (16 bytes; spec text misprints 8), then data, then a separate 1-byte status descriptor.	Chain shape: desc0 len 16 RO, data descs, last desc len 1 WRITE
BLK-DRV-046	5.2.6.4 Legacy: Framing	driver	MUST	LEGACY,!VIRTIO_F_ANY_LAYOUT	yes	SCSI: sense in one writable 96-byte descriptor; errors/data_len/sense_len/residual in one writable descriptor.	Type 2/3: one WRITE desc of 96 bytes, then one of 16 bytes, then 1-byte status
RSVD-DRV-001	6.1 Reserved Feature Bits	driver	MUST	-	yes	Accept VERSION_1 when offered.	DriverFeatures word 1 bit 0 (xv6 violates)
RSVD-DRV-002	6.1 Reserved Feature Bits	driver	MAY	-	no	May fail when VERSION_1 is not offered.	not checkable from outside; design/code review only
RSVD-DRV-003	6.1 Reserved Feature Bits	driver	SHOULD	-	yes	Accept ACCESS_PLATFORM when offered.	Offer bit 33: W 0x020 (word 1) has bit 1
RSVD-DRV-004	6.1 Reserved Feature Bits	driver	MUST	VIRTIO_F_ACCESS_PLATFORM	no	Then disable or program the IOMMU so that bus addresses translate.	not checkable from outside; design/code review only
RSVD-DRV-005	6.1 Reserved Feature Bits	driver	MUST	!VIRTIO_F_ACCESS_PLATFORM	yes	When it is not offered pass only physical addresses.	Descriptor addresses within guest RAM
RSVD-DRV-006	6.1 Reserved Feature Bits	driver	SHOULD	-	yes	Accept RING_PACKED when offered.	Offer bit 34: W 0x020 (word 1) has bit 2
RSVD-DRV-007	6.1 Reserved Feature Bits	driver	SHOULD	-	yes	Accept ORDER_PLATFORM when offered.	Offer bit 36: W 0x020 (word 1) has bit 4
RSVD-DRV-008	6.1 Reserved Feature Bits	driver	MUST	VIRTIO_F_ORDER_PLATFORM	no	Use hardware-strength barriers when negotiated.	not checkable from outside; design/code review only
RSVD-DRV-009	6.1 Reserved Feature Bits	driver	MUST NOT	-	yes	Do not negotiate SR_IOV on a non-PCI device.	Offer bit 37 on MMIO: W 0x020 (word 1) has bit 5 clear
RSVD-DRV-010	6.1 Reserved Feature Bits	driver	SHOULD	-	yes	Accept NOTIF_CONFIG_DATA when offered (PCI only in practice).	Trace; on MMIO the transport gives no data, so treat as unsupported
RSVD-DRV-011	6.3 Legacy: Reserved Feature Bits	driver	MUST	LEGACY	yes	Transitional driver accepts ANY_LAYOUT when offered.	Offer bit 27 on Version 1: W 0x020 has bit 27
RSVD-DRV-012	6.3 Legacy: Reserved Feature Bits	driver	SHOULD NOT	LEGACY	yes	Bit 30 should not be negotiated.	Offer bit 30 on Version 1: W 0x020 has bit 30 clear
`;
