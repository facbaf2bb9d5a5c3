"""The way back to one caller, which ends exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voice_serving.backend import BackendResponse, ResponseSender
    from voice_serving.engine import AudioChunk
    from voice_serving.errors import SpeechServingError
    from voice_serving.tensors import RequestCodec


class Reply:
    """Sends chunks and one ending.

    The final flag rides on the last chunk or on the error, which saves a message; a sender that was
    given it must never be used again, since Triton forgets the request at that moment. Used by one
    thread at a time.

    Sending releases the interpreter lock and only copies into shared memory, so the thread that
    synthesises also sends: a slow caller holds up nobody but itself.
    """

    def __init__(self, sender: ResponseSender, codec: RequestCodec, final_flag: int) -> None:
        self._sender = sender
        self._codec = codec
        self._final_flag = final_flag
        self.ended = False

    def cancelled(self) -> bool:
        """Whether the caller has gone; always true after the end."""
        return self.ended or self._sender.is_cancelled()

    def send(self, chunk: AudioChunk, *, final: bool) -> None:
        """Sends a chunk; a final one ends the reply."""
        self._send(self._codec.encode(chunk), final=final)

    def end(self) -> None:
        """Ends the reply without a word."""
        self.ended = True
        self._sender.send(flags=self._final_flag)

    def fail(self, error: SpeechServingError) -> None:
        """Ends the reply with an error, unless it has ended."""
        if not self.ended:
            self._send(self._codec.encode_error(error), final=True)

    def _send(self, response: BackendResponse, *, final: bool) -> None:
        # Marked first: Triton closes the sender even when sending the final message fails.
        self.ended = final
        self._sender.send(response, flags=self._final_flag if final else 0)
