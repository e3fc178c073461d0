"""Checkpoints that torch wrote."""

from __future__ import annotations

import base64
import collections
import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from oracle import T

# What torch saved of a parameter, a transposed tensor of the same storage, others, and things of its own.
SAVED = zlib.decompress(
    base64.b85decode(
        b"c-nQ7%Wl&^6o&0_l7fLYg+Novtz5$`x0b>NQ6ba?gG6wJ$S!i6A+~Db9A^>)2q~Ksx`P)$Y<LJ(JOdJ2#DWEHz=jQH#wMwU)"
        b"bfn&ng9D|^v`jP8mXKXUCWyF?LOp*riqrt5j%8TZ@@||o7=_imOmt~K`YdCoO%wr!vmZzHu~K2duAhK&A#Wi8eKcIpE1rt6U"
        b"ZJC&N{syYz(R<7==Q82K{=dwA&0)5n^umfz3CgK@-w)%`#-_20oo`A7*HV!@fsUql6mUu%8-K-v)EXaRT3G4)=mi&wLoRSjb"
        b"xUJcpZb;Iah=IUKTJ_N^;E=H5Wof_Z7p;joKaaZ_&E&A8J1h%h%O*@hg|#TrL<BzBC$f(3brbzm{V;$1%oI_>eMk4s4fme7x"
        b"II3YJXf|FDq!KujWG>0=5EKA`QoK1M$4FZ4cbxumEa2~yM4i|(M+FTUfrO2zm0sAXb7{FCIb}c$A8?MKuo8C)wD+;VMg0ck_"
        b"DQH497CaTXudSM}A}1VJjVD@c;5o?N7$3pf2yR+%tKToy5>+(1{c|ycZ=%ibs-or#&H`~FzQ?)GlF-7tU+?qyCfcl0dZlut8"
        b"s5Qf9dB$yY#-N?9-qJemSvlr=26jO9f_YwcIij@lThf>*s7isfBn#YOk%6KUE%=?dsuiYW{v73XYBoB{kw*8Q|fP~(rTa+dV"
        b"@@fSH;z6C-^I(2CcGcq!adw%2rfXjda5PQQ4}>stHfng7IJ8HJTRDU_KeGgR4Ce6{`IO1r81*"
    )
)


def test_an_archive() -> None:
    found = T.load(io.BytesIO(SAVED))
    assert isinstance(found["w"], T.nn.Parameter)
    assert found["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["t"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["n"].dtype == T.int64
    assert found["k"].tolist() == [True]
    assert found["o"] == collections.OrderedDict(a=T.Size([1]), b=T.float64, c=T.device("cpu"))
    # They share memory as they did, and no one is a view.
    assert found["t"]._base is None
    found["t"][0, 0] = 7.0
    assert found["w"][0, 0].item() == 7
    layer = T.nn.Linear(3, 2, bias=False)
    layer.load_state_dict({"weight": found["w"]})
    layer(T.ones(3)).sum().backward()


def test_an_archive_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(SAVED)
    assert T.load(path, map_location="cpu", weights_only=True)["t"].shape == (3, 2)


def repacked(text: bytes) -> io.BytesIO:
    """Return the archive with another pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(SAVED)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, text if name.endswith("data.pkl") else old.read(name))
    file.seek(0)
    return file


def test_archives_that_are_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        T.load(repacked(b"cos\nsystem\n."))
    with pytest.raises((ValueError, IndexError, pickle.UnpicklingError)):
        T.load(io.BytesIO(b"abc"))


@pytest.mark.rustgrad_only
def test_half_precision_is_widened() -> None:
    for name, want in ((b"HalfStorage", [0.0, 1.0, 0.0]), (b"BFloat16Storage", [0.0, 1.0, 0.0])):
        data = {b"HalfStorage": b"\0\0\0\x3c\0\0", b"BFloat16Storage": b"\0\0\x80\x3f\0\0"}[name]
        changed: Any = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n" + name
        changed += b"\nX\x01\0\0\x009X\x03\0\0\0cpuK\x03tQK\0K\x03\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR."
        file = repacked(changed)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("archive/data/9", data)
        file.seek(0)
        with pytest.warns(UserWarning, match="no half precision"):
            found = T.load(file)
        assert found.dtype == T.float32
        assert found.tolist() == want


def test_truncated_draws() -> None:
    """Draws between limits are torch's."""
    T.manual_seed(7)
    want = [-0.1467950940132141, 0.7861412763595581, 0.9468216300010681, -1.1143440008163452, 1.6907901763916016]
    assert T.nn.init.trunc_normal_(T.empty(6)).tolist()[:5] == pytest.approx(want)
    T.manual_seed(7)
    want = [2.5349225997924805, 2.198803186416626, 2.0913777351379395, 2.359285831451416, 2.527801752090454]
    assert T.nn.init.trunc_normal_(T.empty(6), a=2.0, b=3.0).tolist()[:5] == pytest.approx(want)
