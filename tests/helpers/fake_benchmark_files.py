"""Small data sets in the formats of their owners: AVI, MP4, TFRecord, HDF5, PNG."""

import datetime
import struct

import numpy as np

TRAJECTORY = "traj_{}_to_{}.tfrecords"


def write_video(path, frames, *, rate, codec="mpeg4"):
    """RGB frames (time, y, x, 3) as AVI or MP4, by the ending of the path."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


def halves(levels, height, width):
    """Frames whose left half is black and whose right half has a level of grey each."""
    frames = np.zeros((len(levels), height, width, 3), np.uint8)
    frames[:, :, width // 2 :] = np.asarray(levels)[:, None, None, None]
    return frames


def kth_folder(folder, persons=(1, 2, 3, 21), length=10):
    """Videos of one action of some persons; the levels tell person and frame."""
    for person in persons:
        path = folder / "boxing" / f"person{person:02d}_boxing_d1_uncomp.avi"
        write_video(path, halves(100 + 3 * person + np.arange(length), 120, 160), rate=25)
    return folder


def human_folder(folder, subjects=(1, 5, 6, 7, 8, 9, 11), length=9):
    """A video for each subject, and one of those that are skipped."""
    for subject in subjects:
        frames = halves(100 + 5 * subject + np.arange(length), 1000, 1000)
        write_video(folder / f"S{subject}/Videos/Walking 1.54138969.mp4", frames, rate=50)
    (folder / "S1/Videos/_ALL.54138969.mp4").write_bytes(b"not to be opened")
    return folder


def delimited(number, content):
    """A length-delimited field of a protocol buffer."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    """A number of variable length."""
    groups = []
    while True:
        value, low = value >> 7, value & 0x7F
        groups.append(low | (0x80 if value else 0))
        if not value:
            return bytes(groups)


def example(features):
    """A `tf.train.Example` of bytes and lists of floats by name."""
    entries = []
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = delimited(1, delimited(1, value))
        else:
            feature = delimited(2, delimited(1, struct.pack(f"<{len(value)}f", *value)))
        entries.append(delimited(1, delimited(1, name.encode()) + delimited(2, feature)))
    return delimited(1, b"".join(entries))


def framed(record):
    """A record with its length and both checksums."""
    head = struct.pack("<Q", len(record))
    return head + masked(head) + record + masked(record)


def masked(content):
    import google_crc32c

    crc = google_crc32c.value(content)
    rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)


def bair_videos(count, seed):
    """Random videos (video, frame, y, x, channel)."""
    return np.random.default_rng(seed).integers(0, 256, (count, 30, 64, 64, 3), dtype=np.uint8)


def bair_series(count, seed):
    """Actions (4 numbers) and positions (3) of random videos, (video, frame, number)."""
    return np.random.default_rng([seed, 1]).normal(size=(count, 30, 7)).astype(np.float32)


def bair_record(video, series=None):
    """A video with what else a record holds."""
    features = {}
    series = np.zeros((30, 7)) if series is None else series
    for number, (frame, numbers) in enumerate(zip(video, series, strict=False)):
        features[f"{number}/action"] = numbers[:4]
        features[f"{number}/image_aux1/encoded"] = frame.tobytes()
        features[f"{number}/image_main/encoded"] = frame[::-1].tobytes()
        features[f"{number}/endeffector_pos"] = numbers[4:]
    return example(features)


def bair_folder(folder):
    """Two files of training videos, whose names sort otherwise than their numbers, and tests."""
    parts = {"train": ((256, 511, 1), (2048, 2303, 2)), "test": ((0, 255, 3),)}
    for split, files in parts.items():
        inner = folder / "softmotion30_44k" / split
        inner.mkdir(parents=True)
        for first, last, seed in files:
            videos = zip(bair_videos(2, seed), bair_series(2, seed), strict=True)
            records = [framed(bair_record(*video)) for video in videos]
            (inner / TRAJECTORY.format(first, last)).write_bytes(b"".join(records))
    return folder


def taxi_year(year, days, seed=0):
    """Dates and flows of some days of July, each of 48 slots."""
    dates = [
        f"{datetime.date(2000 + year, 7, day):%Y%m%d}{slot:02d}".encode()
        for day in days
        for slot in range(1, 49)
    ]
    flows = np.random.default_rng([seed, year]).uniform(-5, 1000, (len(dates), 2, 32, 32))
    return np.array(dates), flows


def taxi_folder(folder, years=(13, 14, 15, 16), days=(1, 2, 4, 5)):
    """Four files of four days, the third of them missing, and the last one cut short."""
    for year in years:
        dates, flows = taxi_year(year, days)
        write_taxi(folder, year, dates[:-3], flows[:-3])
    return folder


def write_taxi(folder, year, dates, flows):
    """A file as its owner gives it."""
    import h5py

    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / f"BJ{year}_M32x32_T30_InOut.h5", "w") as file:
        file["date"], file["data"] = dates, flows


def chairs_folder(folder, objects=8, size=600):
    """Pictures whose colours tell object and view, with a dark margin that is cropped away."""
    from PIL import Image

    views = [(level, azimuth) for level in (20, 30) for azimuth in range(31)]
    parts = np.zeros((size, size), np.uint8)
    parts[100:300, 100:500], parts[300:500, 100:500] = 1, 2
    for number in range(objects):
        renders = folder / "rendered_chairs" / f"chair{number}" / "renders"
        renders.mkdir(parents=True)
        for place, (level, azimuth) in enumerate(views):
            picture = Image.fromarray(parts)
            colour = (200 - place, 20 * number)
            picture.putpalette((0, 0, 0, *colour, 0, *colour, 255))  # no blue in the upper half
            name = f"image_{place:03d}_p{level:03d}_t{azimuth * 360 // 31:03d}_r096.png"
            (picture.convert("RGB") if number == 0 else picture).save(renders / name)
    return folder
