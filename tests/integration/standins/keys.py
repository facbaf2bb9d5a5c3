"""Stands in for the authorizer: the key is the verdict."""

calls = 0


def lambda_handler(event, context):
    global calls
    calls += 1
    key = event["headers"]["Authorization"].removeprefix("Bearer ")
    if key == "unknown":
        raise Exception("Unauthorized")
    if key == "broken":
        raise RuntimeError("the table is gone")
    api, stage = event["methodArn"].split("/")[:2]
    resource = f"{api}/{stage}/GET/*" if key == "reader" else f"{api}/{stage}/*"
    return {
        "principalId": "demo",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Action": "execute-api:Invoke",
                    "Effect": "Deny" if key == "denied" else "Allow",
                    "Resource": resource,
                }
            ],
        },
        "context": {"tenant": "demo", "calls": calls},
    }
