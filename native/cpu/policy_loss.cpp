// policy_loss_clip, policy_loss_cispo, policy_loss_sapo, policy_loss_reinforce, policy_loss_dppo_tv, policy_loss_dppo_kl: the
// forms with one ratio per target.

#include "cpu.h"
#include "policy_loss_forms.h"

namespace SC_ISA {

int32_t policy_loss_clip(const PolicyLossClipArgs* args, ScStream, ScError* error) {
  return loss_of_targets(args->targets, form_of(*args), error, "policy_loss_clip: no memory for the partial sums");
}

int32_t policy_loss_cispo(const PolicyLossCispoArgs* args, ScStream, ScError* error) {
  return loss_of_targets(args->targets, form_of(*args), error, "policy_loss_cispo: no memory for the partial sums");
}

int32_t policy_loss_sapo(const PolicyLossSapoArgs* args, ScStream, ScError* error) {
  return loss_of_targets(args->targets, form_of(*args), error, "policy_loss_sapo: no memory for the partial sums");
}

int32_t policy_loss_reinforce(const PolicyLossReinforceArgs* args, ScStream, ScError* error) {
  return loss_of_targets(args->targets, form_of(*args), error, "policy_loss_reinforce: no memory for the partial sums");
}

int32_t policy_loss_dppo_tv(const PolicyLossDppoArgs* args, ScStream, ScError* error) {
  return loss_of_targets(args->targets, dppo_form<TotalVariation>(*args), error,
                         "policy_loss_dppo_tv: no memory for the partial sums");
}

int32_t policy_loss_dppo_kl(const PolicyLossDppoArgs* args, ScStream, ScError* error) {
  return loss_of_targets(args->targets, dppo_form<BinaryKl>(*args), error,
                         "policy_loss_dppo_kl: no memory for the partial sums");
}

}  // namespace SC_ISA
