from __future__ import annotations

from typing import Any

import pytest

from intrinsics import Resolver, UnresolvedError

RESOURCES = {
    "Table": {"Type": "AWS::DynamoDB::Table"},
    "Queue": {"Type": "AWS::SQS::Queue"},
    "Bucket": {"Type": "AWS::S3::Bucket"},
    "Speech": {"Type": "AWS::Lambda::Function"},
    "Role": {"Type": "AWS::IAM::Role"},
}
RESOLVE = Resolver(
    RESOURCES,
    {"TritonUrl": "127.0.0.1:8001"},
    {"Table": "local-Table-1", "Queue": "http://localhost:4566/000000000000/local-Queue-1"},
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        (7, 7),
        ({"Ref": "TritonUrl"}, "127.0.0.1:8001"),
        ({"Ref": "AWS::Region"}, "us-east-1"),
        ({"Ref": "Table"}, "local-Table-1"),
        ({"Ref": "Bucket"}, "Bucket"),
        (
            {"Fn::GetAtt": ["Table", "Arn"]},
            "arn:aws:dynamodb:us-east-1:000000000000:table/local-Table-1",
        ),
        ({"Fn::GetAtt": "Queue.QueueName"}, "local-Queue-1"),
        (
            {"Fn::GetAtt": ["Queue", "Arn"]},
            "arn:aws:sqs:us-east-1:000000000000:local-Queue-1",
        ),
        ({"Fn::GetAtt": ["Bucket", "Arn"]}, "arn:aws:s3:::Bucket"),
        (
            {"Fn::Sub": "${Speech.Arn}/${AWS::Region}/${!Literal}"},
            "arn:aws:lambda:us-east-1:000000000000:function:Speech/us-east-1/${Literal}",
        ),
        (
            {"Fn::Sub": ["${A}-${Table}", {"A": {"Ref": "TritonUrl"}}]},
            "127.0.0.1:8001-local-Table-1",
        ),
        (
            [{"Ref": "Table"}, {"deep": {"Ref": "Table"}}],
            ["local-Table-1", {"deep": "local-Table-1"}],
        ),
    ],
)
def test_resolves(value: Any, expected: Any) -> None:
    assert RESOLVE(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "Nothing"},
        {"Fn::GetAtt": ["Nothing", "Arn"]},
        {"Fn::GetAtt": ["Role", "Arn"]},
        {"Fn::Sub": "${Nothing}"},
        {"Fn::ImportValue": "x"},
    ],
)
def test_says_what_it_cannot_resolve(value: Any) -> None:
    with pytest.raises(UnresolvedError):
        RESOLVE(value)
